"""Random frames of all sorts of columns."""

import pandas as pd
from hypothesis import strategies as st

NUMBERS = st.floats(-1e6, 1e6, width=32).filter(lambda x: x not in (0, 1))
CELLS = {
    "float": NUMBERS,
    "int": st.integers(-1000, 1000).filter(lambda x: x not in (0, 1)),
    "bool": st.booleans(),
    "text": st.sampled_from(["red", "green", "blue"]),
    "category": st.sampled_from(["low", "high"]),
}


@st.composite
def frames(draw):
    """Frames of all sorts of columns, of whose cells some are missing but not all."""
    n = draw(st.integers(3, 8))
    columns = {}
    for i, sort in enumerate(draw(st.lists(st.sampled_from([*CELLS]), min_size=1, max_size=5))):
        values = draw(st.lists(CELLS[sort], min_size=n, max_size=n))
        if sort == "text":
            values[:2] = ["red", "blue"]
        gaps = draw(st.lists(st.booleans(), min_size=n, max_size=n))
        cells = [
            None if gap and k > 1 else v
            for k, (v, gap) in enumerate(zip(values, gaps, strict=True))
        ]
        kind = {"int": "Int64", "bool": "boolean", "text": object, "float": float}.get(sort)
        kind = kind or pd.CategoricalDtype(["low", "high"], ordered=True)
        columns[f"{sort}{i}"] = pd.Series(cells, dtype=kind)
    return pd.DataFrame(columns)
