// A real OpenID provider on 127.0.0.1 for the tests: client_credentials gives RFC 9068 access tokens.
// Usage: node provider.mjs FOLDER SETTINGS, where FOLDER holds node_modules and SETTINGS is JSON:
// {"port": 0, "jwks": {"keys": [private JWKs]}, "alg": "ES256", "claims": {}, "ttl": 600}
// Prints its port on one line when it listens.
import http from 'node:http'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const [folder, text] = process.argv.slice(2)
const settings = JSON.parse(text)
const entry = createRequire(`${folder}/`).resolve('oidc-provider')
const { Provider } = await import(pathToFileURL(entry))

const server = http.createServer((request, response) => handle(request, response))
let handle
server.listen(settings.port, '127.0.0.1', () => {
  const { port } = server.address()
  const provider = new Provider(`http://127.0.0.1:${port}`, {
    clients: [{
      client_id: 'devin-app',
      client_secret: 'only-for-tests',
      id_token_signed_response_alg: settings.alg,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    }],
    jwks: settings.jwks,
    extraTokenClaims: () => settings.claims,
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => 'urn:onrecord',
        getResourceServerInfo: () => ({
          scope: '',
          audience: 'onrecord',
          accessTokenTTL: settings.ttl,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: settings.alg } },
        }),
      },
    },
  })
  handle = provider.callback()
  process.stdout.write(`${port}\n`)
})
