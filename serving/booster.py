"""LightGBM's own scorer through its C API, without LightGBM's Python package.

`import lightgbm` pulls scikit-learn and pandas and costs seconds; its shared library alone costs
milliseconds and gives the same numbers to the last bit. Signatures: LightGBM's include/LightGBM/c_api.h.
"""

import ctypes
import importlib.util
import weakref
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from features.errors import ReleaseCorrupt, ReleaseError
from features.lean import lean
from serving import trees

if TYPE_CHECKING:
    from serving.compiled import Compiled

Rows = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.float64]

_LIBRARIES = ("lib_lightgbm.so", "lib_lightgbm.dylib", "lib_lightgbm.dll")
_FLOAT32, _ROW_MAJOR, _RAW, _LEAF, _SHAPLEY = 0, 1, 1, 2, 3  # C_API_DTYPE_*, C_API_PREDICT_*
MANY = 8  # rows from which on compiled trees are faster than the library
# One thread a call: the default takes every core, and becomes ten times slower as soon as two calls compete.
_PARAMETERS = b"num_threads=1 verbosity=-1"
_HANDLE = ctypes.c_void_p


@cache
def library() -> ctypes.CDLL:
    """The shared library of the installed lightgbm, found without importing it. ReleaseError if absent."""
    spec = importlib.util.find_spec("lightgbm")  # of a top-level name: finds, does not import
    for location in (spec and spec.submodule_search_locations) or ():
        for folder in (Path(location) / "lib", Path(location) / "bin", Path(location).parent):
            for path in (folder / name for name in _LIBRARIES):
                if path.is_file():
                    return _declared(ctypes.CDLL(str(path)))
    raise ReleaseError(
        "LightGBM's shared library is not installed, so no release with trees can be scored: "
        "pip install lightgbm (on macOS also `brew install libomp`)"
    )


def _declared(lib: ctypes.CDLL) -> ctypes.CDLL:
    i32, i64, data = ctypes.c_int, ctypes.POINTER(ctypes.c_int64), ctypes.c_void_p
    lib.LGBM_GetLastError.restype = ctypes.c_char_p
    out_handle, out_i32 = ctypes.POINTER(_HANDLE), ctypes.POINTER(ctypes.c_int)
    for name, arguments in {
        "LGBM_BoosterLoadModelFromString": (ctypes.c_char_p, out_i32, out_handle),
        "LGBM_BoosterFree": (_HANDLE,),
        "LGBM_BoosterPredictForMat": (
            (_HANDLE, data, i32, ctypes.c_int32, ctypes.c_int32, i32, i32, i32, i32)
            + (ctypes.c_char_p, i64, data)
        ),
        "LGBM_BoosterPredictForMatSingleRowFastInit": (
            (_HANDLE, i32, i32, i32, i32, ctypes.c_int32, ctypes.c_char_p, out_handle)
        ),
        "LGBM_BoosterPredictForMatSingleRowFast": (_HANDLE, data, i64, data),
        "LGBM_FastConfigFree": (_HANDLE,),
    }.items():
        function = getattr(lib, name)
        function.argtypes = arguments
        function.restype = ctypes.c_int
    return lib


def header(text: str) -> dict[str, str]:
    """The `key=value` lines of a model text before its first tree; a bare word maps to ''.

    >>> header("tree\\nnum_class=1\\nfeature_names=a b\\n\\nTree=0\\nnum_leaves=2\\n")
    {'tree': '', 'num_class': '1', 'feature_names': 'a b'}
    """
    head = text.partition("\nTree=")[0]
    return {key: value for key, _, value in (line.partition("=") for line in head.splitlines() if line)}


# Only these give log-odds as their raw score.
LOG_ODDS = (["binary", "sigmoid:1"], ["cross_entropy"])
LOG_MEAN = (["poisson"],)  # the logarithm of what is expected


class Booster:
    """A LightGBM model of one output: raw scores (log-odds, or `objectives`') and leaves, on float32 rows.

    Safe to call from several threads at once: a booster is never changed after loading, the library takes
    a shared lock for a batch and a lock of its own for a single row, and ctypes releases the GIL.
    The library's memory is freed with the object. Until `hasten`ed it scores with the library alone.
    """

    def __init__(self, text: str, objectives: Sequence[list[str]] = LOG_ODDS) -> None:
        head = header(text)
        objective = head.get("objective", "absent").split()
        # Only a plain sum of trees can be explained.
        if objective not in objectives or "average_output" in head:
            expected = " or ".join(f"`{' '.join(one)}`" for one in objectives)
            raise ReleaseCorrupt(
                f"a booster has the objective {' '.join(objective)!r}: expected boosting on {expected}, "
                f"whose raw score is the {'log-odds' if objectives is LOG_ODDS else 'logarithm of a mean'}"
            )
        self.features = tuple(head.get("feature_names", "").split())
        text = trees.rewritten(text)
        lib = library()
        self._handle, iterations = _HANDLE(), ctypes.c_int()
        _check(
            lib.LGBM_BoosterLoadModelFromString(
                text.encode(), ctypes.byref(iterations), ctypes.byref(self._handle)
            )
        )
        self.trees = iterations.value
        self._text = text
        self._compiled: Compiled | None = None
        self._single = _HANDLE()
        try:
            _check(
                lib.LGBM_BoosterPredictForMatSingleRowFastInit(
                    self._handle,
                    _RAW,
                    0,
                    -1,
                    _FLOAT32,
                    len(self.features),
                    _PARAMETERS,
                    ctypes.byref(self._single),
                )
            )
        except ReleaseCorrupt:
            lib.LGBM_BoosterFree(self._handle)
            raise
        weakref.finalize(self, _free, lib, self._handle, self._single)

    def raw(self, rows: Rows) -> Numbers:
        """float32 [n, features], NaN for null -> log-odds, float64 [n]."""
        if len(rows) == 1:
            return np.array([self.one(rows)])
        if self._compiled is not None and len(rows) >= MANY:
            return self._compiled.raw(self._checked(rows))
        return self._predict(rows, _RAW, 1)[:, 0]

    def one(self, row: Rows) -> float:
        """float32 [1, features] -> its log-odds, as `raw` gives them."""
        out, length = ctypes.c_double(), ctypes.c_int64()
        code = library().LGBM_BoosterPredictForMatSingleRowFast(
            self._single, self._checked(row).tobytes(), ctypes.byref(length), ctypes.byref(out)
        )
        if code != 0:
            _check(code)
        return out.value

    def hasten(self, rows: Rows) -> bool:
        """Score MANY rows and more by the compiled trees from now on; whether that is so.

        Only if they give the library's own bits on these rows, and on rows around every split.
        """
        with lean():
            from serving.compiled import compiled

            found = compiled(list(trees.parse(self._text)))
            if found is None:
                return False
            for some in (self._checked(rows), found.around(len(self.features))):
                if found.raw(some).tobytes() != self._predict(some, _RAW, 1)[:, 0].tobytes():
                    return False
        self._compiled = found
        return True

    def leaves(self, rows: Rows) -> npt.NDArray[np.int64]:
        """float32 [n, features] -> the leaf that each row falls into, [n, trees]."""
        return self._predict(rows, _LEAF, self.trees).astype(np.int64)

    def shapley(self, rows: Rows) -> Numbers:
        """float32 [n, features] -> exact Shapley values, log-odds [n, features + 1], the last the base.

        Path-dependent TreeSHAP (Lundberg and others 2020), as LightGBM has it.
        """
        return self._predict(rows, _SHAPLEY, len(self.features) + 1)

    def _predict(self, rows: Rows, kind: int, width: int) -> Numbers:
        rows = np.ascontiguousarray(self._checked(rows))
        out, length = np.empty((len(rows), width)), ctypes.c_int64()
        if len(rows):
            _check(
                library().LGBM_BoosterPredictForMat(
                    self._handle, rows.ctypes.data, _FLOAT32, len(rows), rows.shape[1], _ROW_MAJOR, kind,
                    0, -1, _PARAMETERS, ctypes.byref(length), out.ctypes.data,
                )
            )  # fmt: skip
            assert length.value == out.size  # else it wrote another number of values than we made room for
        return out

    def _checked(self, rows: Rows) -> Rows:
        # The library reads memory blindly: a wrong type or width would be a wrong score, or a crash.
        if rows.dtype != np.float32 or rows.ndim != 2 or rows.shape[1] != len(self.features):
            raise ValueError(
                f"expected float32 rows [n, {len(self.features)}], got {rows.dtype} {list(rows.shape)}"
            )
        return rows


def _check(code: int) -> None:
    if code != 0:
        raise ReleaseCorrupt(f"LightGBM refused a booster: {library().LGBM_GetLastError().decode()}")


def _free(lib: ctypes.CDLL, handle: ctypes.c_void_p, single: ctypes.c_void_p) -> None:
    lib.LGBM_FastConfigFree(single)  # first: it holds a lock on the booster
    lib.LGBM_BoosterFree(handle)
