"""Texts under way take so much memory and no more, and what waits for memory takes no room."""

from __future__ import annotations

import asyncio

import pytest

from p2pinfer.documents.answering.text_memory import TextMemory


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


class Texts:
    """Texts that have acquired the room, and hold memory until they are told to end."""

    def __init__(self, most_bytes: int, room: int) -> None:
        self.room = asyncio.Semaphore(room)
        self.memory = TextMemory(most_bytes, self.room)
        self.holding: list[int] = []
        self.end = asyncio.Event()

    async def run(self, size: int) -> None:
        await self.room.acquire()
        try:
            async with self.memory.holding(size):
                self.holding.append(size)
                await self.end.wait()
                self.holding.remove(size)
        finally:
            self.room.release()

    def free(self) -> int:
        return self.room._value


async def test_texts_that_fit_are_held_together_and_others_wait():
    texts = Texts(100, room=10)
    tasks = [asyncio.create_task(texts.run(40)) for _ in range(3)]
    await settle()
    assert texts.holding == [40, 40]

    texts.end.set()
    await asyncio.gather(*tasks)
    assert (texts.holding, texts.free()) == ([], 10)


async def test_a_text_that_is_larger_than_all_memory_comes_alone():
    texts = Texts(100, room=10)
    tasks = [asyncio.create_task(texts.run(size)) for size in (10, 500)]
    await settle()
    assert texts.holding == [10]

    texts.end.set()
    await asyncio.gather(*tasks)


async def test_what_waits_for_memory_leaves_the_room_to_others():
    texts = Texts(100, room=2)
    tasks = [asyncio.create_task(texts.run(100)) for _ in range(5)]
    await settle()

    assert texts.holding == [100]
    assert texts.free() == 1  # for a piece of the text that is worked on
    texts.end.set()
    await asyncio.gather(*tasks)
    assert texts.free() == 2


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_a_text_that_is_given_up_gives_everything_back(place: int):
    texts = Texts(100, room=2)
    tasks = [asyncio.create_task(texts.run(100)) for _ in range(3)]
    await settle()
    tasks[place].cancel()
    await settle()
    texts.end.set()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert tasks[place].cancelled()
    assert texts.free() == 2
    assert texts.memory._used_bytes == 0
