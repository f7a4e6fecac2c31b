"""SQLAlchemy 2: an ORM round trip and reflection with each of its drivers."""

from __future__ import annotations

import pytest
from sqlalchemy import ForeignKey, create_engine, func, inspect, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from tests.clients.lab import WIDE, Lab


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "cl_authors"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    books: Mapped[list[Book]] = relationship(back_populates="author")


class Book(Base):
    __tablename__ = "cl_books"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(unique=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("cl_authors.id"))
    author: Mapped[Author] = relationship(back_populates="books")


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "pg8000"])
def test_the_orm_and_reflection(lab: Lab, driver: str):
    wide = create_engine(
        lab.url(f"postgresql+{driver}", WIDE)
    )  # all tables in one transaction: later ones name new ones
    engine = create_engine(lab.url(f"postgresql+{driver}"))
    try:
        Base.metadata.drop_all(wide)
        Base.metadata.create_all(wide)
        with Session(engine) as session:
            session.add(Author(name="Ada", books=[Book(title="One"), Book(title="Two")]))
            session.commit()
            assert session.scalar(select(func.count()).select_from(Book).join(Author)) == 2
        tables = inspect(engine)
        assert [key["referred_table"] for key in tables.get_foreign_keys("cl_books")] == ["cl_authors"]
        assert [column["name"] for column in tables.get_columns("cl_books")] == ["id", "title", "author_id"]
        assert tables.get_unique_constraints("cl_books")[0]["column_names"] == ["title"]
        Base.metadata.drop_all(wide)
    finally:
        engine.dispose()
        wide.dispose()


async def test_the_orm_with_asyncpg(lab: Lab):
    wide = create_async_engine(lab.url("postgresql+asyncpg", WIDE))
    engine = create_async_engine(lab.url("postgresql+asyncpg"))
    try:
        async with wide.begin() as connection:
            await connection.run_sync(Base.metadata.drop_all)
            await connection.run_sync(Base.metadata.create_all)
        async with AsyncSession(engine) as session:
            session.add(Author(name="Ada", books=[Book(title="One")]))
            await session.commit()
            assert (await session.scalars(select(Book.title))).all() == ["One"]
    finally:
        await engine.dispose()
        await wide.dispose()
