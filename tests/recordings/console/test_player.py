"""The clock of a replay: speed, pauses that are cut short, steps and seeks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from onrecord.recordings.console.player import Player

TIMES = [0.0, 1.0, 1.5, 60.0, 61.0]


def test_it_plays_at_the_time_of_the_record_and_cuts_long_pauses():
    player = Player(TIMES)
    player.toggle()
    assert player.tick(0.0) == 1
    assert player.tick(0.9) == 1
    assert player.tick(0.2) == 2
    assert player.tick(0.5) == 3
    assert player.tick(1.0) == 3
    assert player.tick(1.0) == 4  # two seconds instead of 58
    assert player.tick(2.0) == 5
    assert player.ended
    assert not player.playing
    player.toggle()
    assert (player.index, player.playing) == (0, True)


def test_real_pauses_where_they_are_wanted_and_more_speed():
    player = Player(TIMES)
    player.skips = False
    player.toggle()
    player.tick(0.0)
    assert player.tick(30.0) == 3
    assert round(player.at, 3) == 30.0
    for _ in range(3):
        player.faster(1)
    assert player.speed == 8.0
    assert player.tick(4.0) == 5


def test_steps_pause_and_seeks_go_anywhere():
    player = Player(TIMES)
    player.toggle()
    assert player.step(1) == 1
    assert not player.playing
    assert player.step(-5) == 0
    assert player.seek(1.4) == 2
    assert player.seek(-3.0) == 0
    assert player.seek(1e9) == 5
    assert Player([]).tick(1.0) == 0


@given(
    st.lists(st.floats(0, 1e6), max_size=20).map(sorted),
    st.lists(st.one_of(st.tuples(st.just("tick"), st.floats(0, 100)), st.tuples(st.just("seek"), st.floats(-1, 1e6)),
                       st.tuples(st.just("step"), st.integers(-3, 3)), st.tuples(st.just("faster"), st.integers(-2, 2)),
                       st.tuples(st.just("toggle"), st.none()))),
)  # fmt: skip
def test_whatever_is_pressed_it_stays_within_the_recording(times, keys):
    player = Player(times)
    for name, value in keys:
        getattr(player, name)(*(() if value is None else (value,)))
        assert 0 <= player.index <= len(times)
        assert 0.0 <= player.at <= player.duration
    player.playing = True
    for _ in range(60):
        before = player.index
        assert player.tick(10.0) >= before
    assert player.ended
