// A real OpenID provider on 127.0.0.1 for the tests: client_credentials gives RFC 9068 access tokens.
// Usage: node provider.mjs FOLDER SETTINGS, where FOLDER holds node_modules and SETTINGS is JSON:
// {"port": 0, "jwks": {"keys": [private JWKs]}, "alg": "ES256", "claims": {}, "ttl": 600,
//  "accounts": {"dana": {"groups": ["dba"], "acr": "urn:mfa"}}, "redirect_uris": ["http://127.0.0.1:1/login/callback"]}
// People log in at /interaction/… by their name alone; client onrecord-page, code flow with PKCE.
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
    }, ...(settings.redirect_uris.length === 0 ? [] : [{
      client_id: 'onrecord-page',
      client_secret: 'only-for-tests',
      id_token_signed_response_alg: settings.alg,
      grant_types: ['authorization_code'],
      redirect_uris: settings.redirect_uris,
      response_types: ['code'],
    }])],
    jwks: settings.jwks,
    cookies: { keys: ['only-for-tests'] },
    conformIdTokenClaims: false,
    claims: { openid: ['sub'], groups: ['groups', 'email'] },
    scopes: ['openid', 'groups'],
    acrValues: ['urn:mfa', 'urn:password'],
    findAccount: (context, id) => settings.accounts[id] && {
      accountId: id,
      claims: () => ({ sub: id, groups: settings.accounts[id].groups, email: settings.accounts[id].email }),
    },
    interactions: { url: (context, interaction) => `/interaction/${interaction.uid}` },
    loadExistingGrant: async (context) => {
      const { client, session } = context.oidc
      const grant = new context.oidc.provider.Grant({ clientId: client.clientId, accountId: session.accountId })
      grant.addOIDCScope('openid groups')
      await grant.save()
      return grant
    },
    extraTokenClaims: () => settings.claims,
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        defaultResource: (context, client) => client.clientId === 'devin-app' ? 'urn:onrecord' : undefined,
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
  const callback = provider.callback()
  handle = (request, response) => {
    if (!request.url.startsWith('/interaction/')) return callback(request, response)
    return interact(provider, request, response).catch((error) => response.writeHead(500).end(String(error)))
  }
  process.stdout.write(`${port}\n`)
})

// The login page: whoever gives a known name is that person.
async function interact (provider, request, response) {
  await provider.interactionDetails(request, response)
  if (request.method !== 'POST') {
    response.setHeader('content-type', 'text/html')
    response.end('<form method="post"><label>Name <input name="name" id="name"></label><button>Log in</button></form>')
    return
  }
  let body = ''
  for await (const chunk of request) body += chunk
  const name = new URLSearchParams(body).get('name')
  const account = settings.accounts[name]
  if (account === undefined) return response.writeHead(403).end('nobody has this name')
  const login = { accountId: name, acr: account.acr }
  if (account.age !== undefined) login.ts = Math.floor(Date.now() / 1000) - account.age
  await provider.interactionFinished(request, response, { login }, { mergeWithLastSubmission: false })
}
