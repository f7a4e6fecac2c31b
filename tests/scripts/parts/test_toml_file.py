import tomllib

from hypothesis import given
from hypothesis import strategies as st

from onrecord.scripts.parts.toml_file import write_toml

SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(alphabet=st.characters(exclude_categories=["Cs"])),
)
KEYS = st.text(alphabet="abcXYZ019_-", min_size=1, max_size=8)
TABLES = st.recursive(
    st.dictionaries(KEYS, SCALARS | st.lists(SCALARS, max_size=3), max_size=4),
    lambda inner: st.dictionaries(KEYS, inner | st.lists(inner, min_size=1, max_size=2), max_size=3),
    max_leaves=6,
)


@given(TABLES)
def test_what_is_written_reads_back(document):
    assert tomllib.loads(write_toml(document)) == document
