// node-postgres, pg-cursor and pg-query-stream through the gateway; prints "ok" at the end.
const assert = require('node:assert')
const { Client, Pool } = require('pg')
const Cursor = require('pg-cursor')
const QueryStream = require('pg-query-stream')
const fs = require('node:fs')

async function main () {
  const ssl = process.env.PGSSLROOTCERT ? { ca: fs.readFileSync(process.env.PGSSLROOTCERT) } : false
  const client = new Client({ ssl })
  await client.connect()
  await client.query('DROP TABLE IF EXISTS cl_node')
  await client.query('CREATE TABLE cl_node (id int, name text, data jsonb)')
  await client.query('INSERT INTO cl_node VALUES ($1, $2, $3)', [1, 'a', { k: [1] }])
  for (let n = 0; n < 3; n++) {
    const found = await client.query({ name: 'one', text: 'SELECT * FROM cl_node WHERE id = $1', values: [1] })
    assert.deepStrictEqual(found.rows, [{ id: 1, name: 'a', data: { k: [1] } }])
  }
  const cursor = client.query(new Cursor('SELECT g FROM generate_series(1, 25) g'))
  assert.strictEqual((await cursor.read(10)).length, 10)
  await cursor.close()
  let rows = 0
  for await (const row of client.query(new QueryStream('SELECT g FROM generate_series(1, 500) g', [], { batchSize: 50 }))) rows += row.g > 0
  assert.strictEqual(rows, 500)
  const heard = new Promise(resolve => client.on('notification', resolve))
  await client.query('LISTEN cl_node')
  await client.query("NOTIFY cl_node, 'hi'")
  assert.strictEqual((await heard).payload, 'hi')
  await assert.rejects(client.query('CREATE ROLE mallory'), { code: '42501' })
  await client.end()
  const pool = new Pool({ ssl, max: 3 })
  const all = await Promise.all([...Array(20).keys()].map(n => pool.query('SELECT $1::int AS n', [n])))
  assert.deepStrictEqual(all.map(found => found.rows[0].n), [...Array(20).keys()])
  await pool.end()
  console.log('ok')
}
main().catch(error => { console.error(error); process.exit(1) })
