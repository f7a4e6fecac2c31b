"""The demo's database: a small shop with made-up people, the same rows at every start."""

from __future__ import annotations

SHOP_SQL = """
CREATE TABLE customers (
    id integer PRIMARY KEY,
    name text NOT NULL,
    email text NOT NULL UNIQUE,
    city text NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE TABLE orders (
    id integer PRIMARY KEY,
    customer_id integer NOT NULL REFERENCES customers,
    item text NOT NULL,
    amount numeric(10, 2) NOT NULL,
    status text NOT NULL CHECK (status IN ('open', 'paid', 'shipped', 'refunded')),
    placed_at timestamptz NOT NULL
);
CREATE TABLE payments (
    id serial PRIMARY KEY,
    order_id integer NOT NULL REFERENCES orders ON DELETE CASCADE,
    method text NOT NULL,
    card text,
    amount numeric(10, 2) NOT NULL
);
INSERT INTO customers
SELECT n,
       first[1 + n % 10] || ' ' || last[1 + n / 7 % 10],
       lower(first[1 + n % 10]) || '.' || lower(last[1 + n / 7 % 10]) || n || '@example.com',
       (ARRAY['Lisbon', 'Oslo', 'Turin', 'Leeds', 'Austin'])[1 + n % 5],
       timestamptz '2026-01-01 09:00+00' + n * interval '11 hours'
FROM generate_series(1, 60) AS n,
     (SELECT ARRAY['Ada','Ben','Chloe','Dev','Elif','Finn','Grace','Hugo','Iris','Jonas'] AS first,
             ARRAY['Moreau','Okafor','Silva','Tanaka','Weber','Young','Khan','Lopez','Meyer','Novak'] AS last) AS names;
INSERT INTO orders
SELECT n,
       1 + n * 17 % 60,
       (ARRAY['desk lamp', 'keyboard', 'backpack', 'headphones', 'water bottle', 'monitor'])[1 + n % 6],
       (19 + n * 37 % 480) + 0.99,
       (ARRAY['open', 'paid', 'shipped', 'paid', 'refunded'])[1 + n % 5],
       timestamptz '2026-09-01 08:00+00' + n * interval '97 minutes'
FROM generate_series(1, 200) AS n;
INSERT INTO payments (order_id, method, card, amount)
SELECT id, CASE id % 3 WHEN 0 THEN 'transfer' ELSE 'card' END,
       CASE id % 3 WHEN 0 THEN NULL ELSE '4111 1111 1111 1111' END, amount
FROM orders WHERE status <> 'open';
ANALYZE;
"""
