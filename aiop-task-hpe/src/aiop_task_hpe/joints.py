"""The 14 joints of the Leeds Sports Pose data sets, and how they mirror."""

JOINTS: tuple[str, ...] = (
    "r_ankle",
    "r_knee",
    "r_hip",
    "l_hip",
    "l_knee",
    "l_ankle",
    "r_wrist",
    "r_elbow",
    "r_shoulder",
    "l_shoulder",
    "l_elbow",
    "l_wrist",
    "neck",
    "head_top",
)
"""Names in the order of ``joints.mat``; left and right are the person's own."""

FLIP: tuple[int, ...] = (5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 12, 13)
"""Joint ``i`` of a mirrored image is joint ``FLIP[i]`` of the original."""

R_HIP, L_HIP, R_SHOULDER, L_SHOULDER = 2, 3, 8, 9
