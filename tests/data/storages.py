"""The same table in every storage that users come with."""

import pandas as pd
import polars as pl
import pyarrow as pa

TEXTS = ("pid", "site", "sex", "first", "second")


def texts_as(kind):
    return lambda table: pd.DataFrame(table).astype(dict.fromkeys(TEXTS, kind))


VARIANTS = {
    "pandas": pd.DataFrame,
    "pandas object": lambda t: pd.DataFrame({k: pd.Series(v, dtype=object) for k, v in t.items()}),
    "pandas str": texts_as("str"),
    "pandas string": texts_as("string"),
    "pandas category": texts_as("category"),
    "pandas nullable": lambda t: pd.DataFrame(t).convert_dtypes(),
    "pandas arrow": lambda t: pa.table(t).to_pandas(types_mapper=pd.ArrowDtype),
    "pandas ints": lambda t: pd.DataFrame(t).astype({"improved": "Int8"}),
    "pandas floats": lambda t: pd.DataFrame(t).astype({"improved": float}),
    "pandas with an index": lambda t: pd.DataFrame(t, index=[3, 3, 1, 0, -1, 7]),
    "polars": pl.DataFrame,
    "polars categorical": lambda t: pl.DataFrame(t).with_columns(pl.col(TEXTS).cast(pl.Categorical)),
    "polars enum": lambda t: pl.DataFrame(t).with_columns(pl.col("first").cast(pl.Enum(["therapy", "medication"]))),
    "polars NaN": lambda t: pl.DataFrame(t).with_columns(pl.col("drop").fill_null(float("nan"))),
    "polars ints": lambda t: pl.DataFrame(t).with_columns(pl.col("improved").cast(pl.UInt8)),
    "pyarrow": pa.table,
    "pyarrow dictionary": lambda t: pa.table({k: pa.array(v).dictionary_encode() if k in TEXTS else pa.array(v) for k, v in t.items()}),
    "pyarrow large text": lambda t: pa.table({k: pa.array(v, pa.large_string()) if k in TEXTS else pa.array(v) for k, v in t.items()}),
    "pyarrow chunked": lambda t: pa.concat_tables([pa.table(t).slice(0, 2), pa.table(t).slice(2)]),
}
