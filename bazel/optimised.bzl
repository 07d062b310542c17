"""optimised: the configuration of what is installed, and of what runs in the emulated machine."""

def _optimised_impl(_settings, _attr):
    # Also under --config=asan and the like: an installed library carries no sanitizer.
    return {
        "//command_line_option:compilation_mode": "opt",
        "//command_line_option:copt": ["-O3", "-Wall", "-Wextra", "-Wno-restrict", "-fvisibility=hidden"],
        "//command_line_option:linkopt": [],
        "//bazel:sanitizer": "none",
    }

optimised = transition(
    implementation = _optimised_impl,
    inputs = [],
    outputs = [
        "//command_line_option:compilation_mode",
        "//command_line_option:copt",
        "//command_line_option:linkopt",
        "//bazel:sanitizer",
    ],
)
