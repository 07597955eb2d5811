"""The engine as a program in C++ sees it. More of the same runs in scripts/test_native."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from p2pinfer.model.engine.native.library import available_isas, unavailable_reason
from tests.model.engine.native.driver.build import compile_driver, installed_engine

if reason := unavailable_reason():
    pytest.skip(reason, allow_module_level=True)

ENGINE = installed_engine()


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_random_models_give_the_same_bytes_on_every_instruction_set(tmp_path: Path):
    """Each run also computes every case in several ways, and prints WRONG where they differ."""
    driver = tmp_path / "native_driver"
    compile_driver(driver, ENGINE)
    expected = ""
    for isa in available_isas():
        command = [str(driver), isa, "0", "60"]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stdout + found.stderr
        expected = expected or found.stdout

        assert found.stdout == expected


def test_a_system_out_of_threads_is_an_error_and_no_standstill():
    """There is memory for the stacks of some of the 256 threads, not of all."""

    def leave_little_memory() -> None:
        resource.setrlimit(resource.RLIMIT_STACK, (8 << 20, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_AS, (700 << 20, 700 << 20))

    program = (
        "import ctypes, sys\n"
        "engine, matrix = ctypes.CDLL(sys.argv[1]), ctypes.c_void_p()\n"
        "weights, scales = (ctypes.c_int8 * 4)(), (ctypes.c_float * 2)()\n"
        "print(engine.p2p_matrix_create(2, 2, weights, scales, 256, -1, ctypes.byref(matrix)))\n"
    )
    found = subprocess.run(
        [sys.executable, "-I", "-c", program, str(ENGINE)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=leave_little_memory,
    )

    assert (found.stdout, found.stderr) == ("2\n", ""), "P2P_ERROR_MEMORY"
