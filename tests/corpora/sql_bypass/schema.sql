CREATE TABLE customers (
    id int PRIMARY KEY, name text NOT NULL, email text NOT NULL UNIQUE, card text, notes text, born date, data jsonb,
    CHECK (email LIKE '%@%'), CHECK (card IS NULL OR length(card) > 3)
);
INSERT INTO customers VALUES
    (1, 'Alice', 'qzxjkvalice@wvutsrq.example', '4242 4242 4242 4242', 'owes zqxwvkjh since May', '1980-01-02', '{"email": "qzxjkvalice@wvutsrq.example"}'),
    (2, 'Bob', 'qzxjkvbob@wvutsrq.example', '5555 5555 5555 4444', 'knows zqxwvkjh well', '1981-02-03', '{"tags": ["zqxwvkjh"]}');
CREATE TABLE salaries (id int PRIMARY KEY, customer_id int REFERENCES customers (id), amount text NOT NULL);
INSERT INTO salaries VALUES (1, 1, 'kkqqzz918273645'), (2, 2, 'kkqqzz546372819');
CREATE TABLE orders (id int PRIMARY KEY, customer_id int REFERENCES customers (id), note text, total numeric);
INSERT INTO orders SELECT i, 1 + i % 2, 'order ' || i, i * 10 FROM generate_series(1, 20) i;
CREATE TABLE scratch (id int, value text);
CREATE VIEW contacts AS SELECT id, name, email AS address FROM customers;
CREATE VIEW deep AS SELECT c.id, upper(c.address) AS loud, c AS entire FROM contacts c;
CREATE VIEW payroll AS SELECT s.id, s.amount FROM salaries s;
CREATE MATERIALIZED VIEW snapshot AS SELECT id, email FROM customers;
CREATE VIEW order_list AS SELECT id, note FROM orders;
CREATE TABLE events (id int, at date, email text) PARTITION BY RANGE (at);
CREATE TABLE events_2025 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
INSERT INTO events VALUES (1, '2025-05-05', 'qzxjkvevent@wvutsrq.example');
CREATE TABLE members (id int, email text, low text GENERATED ALWAYS AS (lower(email)) STORED, tail text GENERATED ALWAYS AS (email || '!') STORED);
INSERT INTO members (id, email) VALUES (1, 'Qzxjkvmember@wvutsrq.example');
CREATE TABLE people (id int, name text);
CREATE TABLE vips (secret text) INHERITS (people);
CREATE FUNCTION purge() RETURNS int LANGUAGE plpgsql AS 'BEGIN DELETE FROM orders; RETURN 1; END';
CREATE FUNCTION purge_sql() RETURNS void LANGUAGE sql AS 'DELETE FROM orders';
CREATE FUNCTION liar() RETURNS int LANGUAGE plpgsql STABLE SECURITY DEFINER AS 'BEGIN RETURN purge(); END';
CREATE FUNCTION pay(int) RETURNS text LANGUAGE sql STABLE AS 'SELECT amount FROM salaries WHERE id = $1';
CREATE FUNCTION mail(int) RETURNS text LANGUAGE sql STABLE AS 'SELECT email FROM customers WHERE id = $1';
CREATE FUNCTION lying_mail(int) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT email FROM customers WHERE id = $1';
CREATE FUNCTION hidden_mail(int) RETURNS text LANGUAGE plpgsql STABLE AS 'BEGIN RETURN (SELECT email FROM customers WHERE id = $1); END';
CREATE FUNCTION shout(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT upper($1) || ''!''';
CREATE FUNCTION lower(varchar) RETURNS text LANGUAGE plpgsql AS 'BEGIN DELETE FROM orders; RETURN $1::text; END';
CREATE PROCEDURE wipe() LANGUAGE plpgsql AS 'BEGIN DELETE FROM orders; END';
CREATE FUNCTION op_purge(int, int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN DELETE FROM orders; RETURN true; END';
CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = op_purge);
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE FUNCTION mood_of(int) RETURNS mood LANGUAGE plpgsql AS 'BEGIN DELETE FROM orders; RETURN ''sad''; END';
CREATE CAST (int AS mood) WITH FUNCTION mood_of(int);
CREATE SCHEMA app;
CREATE TABLE app.customers (id int, email text);
INSERT INTO app.customers VALUES (1, 'nothing@special.example');
CREATE VIEW app.salaries AS SELECT * FROM public.salaries;
CREATE RULE bounce AS ON INSERT TO scratch WHERE new.id = 666 DO INSTEAD DELETE FROM orders;
