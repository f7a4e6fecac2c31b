"""Finding records: a store is larger than memory, so views are made one by one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from onrecord.recordings.queries import Filters, NotFoundError, Reader
from onrecord.recordings.search import search
from onrecord.recordings.views import Leaf
from tests.recordings.samples import Recorded


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return Recorded(tmp_path_factory.mktemp("queries"))


class Counting(Reader):
    """A reader that counts the records it reads."""

    read = 0

    def leaf(self, seq: int) -> Leaf | None:
        self.read += 1
        return super().leaf(seq)


def test_commands_are_read_one_by_one(recorded: Recorded) -> None:
    with Counting(recorded.path) as reader:
        views = reader.commands(Filters())
        assert isinstance(views, Iterator)
        next(views)
        assert reader.read <= 3  # the command, its outcome, its session
        assert len(list(views)) == 35


def test_a_search_that_hits_everywhere_makes_one_view_at_a_time(recorded: Recorded) -> None:
    with Counting(recorded.path) as reader:
        views = search(reader, "orders", None)
        first = next(views)
        before = reader.read
        assert "orders" in str(first)
        next(views)
        assert reader.read - before <= 5
        reader.close()


def test_log_and_commands_are_the_same(recorded: Recorded) -> None:
    with Reader(recorded.path) as reader:
        assert list(reader.commands(Filters(limit=5))) == reader.log(Filters(limit=5))
        times = [view["at"] for view in reader.log(Filters())]
        assert times == sorted(times)


@pytest.mark.parametrize("id", ["", "zz", "-", "0" * 33, "01a2\x1b", "é", "%", "' OR 1=1 --"])
def test_what_is_no_id_is_not_found(recorded: Recorded, id: str) -> None:
    with Reader(recorded.path) as reader, pytest.raises(NotFoundError):
        reader.find(id)


def test_an_ambiguous_beginning_names_some(recorded: Recorded) -> None:
    with Reader(recorded.path) as reader, pytest.raises(NotFoundError, match="more than one"):
        reader.find(recorded.commands[0][:3])
