"""``aiop gnn import``: a checkpoint of the research code as a saved predictor."""

from __future__ import annotations

from pathlib import Path

import click

from aiop_core.cli import flags
from aiop_predictor_gnn.options import NORMALISE, SCALINGS, GnnOptions

_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.pt")
@click.option(
    "--out",
    "-o",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    metavar="FOLDER",
    help="To save it in.",
)
@click.option("--metric", default="acc", show_default=True, metavar="NAME", help="What it was trained to predict.")
@click.option("--lower-is-better", is_flag=True, help="Of the metric.")
@click.option(
    "--scaling", type=click.Choice(SCALINGS), default="standardise_flops", show_default=True, help="Its -tar_norm."
)
@click.option(
    "--normalise",
    type=click.Choice(NORMALISE),
    default="fixed",
    show_default=True,
    help="How sizes are divided: fixed for classification, own_maxima for body and head.",
)
@click.option("--adapters", metavar="A,B,…", help="Names of its adapters; k0,k1,… by default.")
@click.option("--force", is_flag=True, help="Overwrite a predictor that is there.")
@flags.json_option
def command(
    file: Path,
    out: Path,
    metric: str,
    lower_is_better: bool,
    scaling: str,
    normalise: str,
    adapters: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Import a .pt file that run_gpi_acc_predictor.py wrote, with k-adapters or without.

    Nothing in the file is run. It does not say in which unit its labels were, so that the
    predictor ranks until 'aiop evaluate' has brought it to a target's labels.
    """
    from aiop_core.cli.view import print_json
    from aiop_core.contracts import Metric
    from aiop_core.metrics import METRICS
    from aiop_core.options import options_dict
    from aiop_core.pipeline.fit import UNDEFINED
    from aiop_core.pipeline.provenance import provenance
    from aiop_core.pipeline.saved import PredictorCard, check_free, save_predictor
    from aiop_predictor_gnn.predictor import GnnPredictor

    check_free(out, force=force)
    names = None if adapters is None else [name.strip() for name in adapters.split(",")]
    predictor = GnnPredictor.of_paper(file, GnnOptions(scaling=scaling, normalise=normalise), names)
    card = PredictorCard(
        "gnn",
        options_dict(predictor.options),
        Metric(metric, "score", not lower_is_better, f"scaled labels of {file.name}"),
        {},
        0,
        dict.fromkeys(METRICS, UNDEFINED),
        f"Imported from {file.name}; not measured here.",
        provenance() | {"imported": file.name},
        adapters=[{"name": name, "source": file.name} for name in predictor.adapters],
    )
    save_predictor(out, predictor, card)
    if as_json:
        print_json({"predictor": str(out), "adapters": list(predictor.adapters), "options": card.options})
        return
    found = f"adapters {', '.join(predictor.adapters)}" if predictor.adapters else "no adapters"
    click.echo(f"Predictor ({found}): {out}")
    click.echo(f"It only ranks. To bring it to labels: aiop evaluate --predictor {out} --cache FILE")
