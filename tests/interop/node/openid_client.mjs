// openid-client, the OpenID certified relying party of Node.js.
import * as client from 'openid-client'
import { ask, given, refused, run, sameOrThrow } from './browser.mjs'

const SCOPE = 'openid profile offline_access g:training_user'

async function find(id, authentication) {
  return client.discovery(new URL(given.issuer), id, undefined, authentication)
}

// A code flow with everything on: PKCE, state, nonce, iss; `build` makes the address.
async function code(config, build, options) {
  const pkceCodeVerifier = client.randomPKCECodeVerifier()
  const expectedState = client.randomState()
  const expectedNonce = client.randomNonce()
  const url = await build(config, {
    redirect_uri: given.back,
    scope: SCOPE,
    state: expectedState,
    nonce: expectedNonce,
    code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: 'S256',
  }, options)
  const back = new URL(await ask({ open: url.href }))
  const checks = { pkceCodeVerifier, expectedState, expectedNonce, idTokenExpected: true }
  const elsewhere = new URL(back)
  elsewhere.searchParams.set('iss', 'https://other.example.org')
  await refused(client.authorizationCodeGrant(config, elsewhere, checks, undefined, options), 'OAUTH_INVALID_RESPONSE')
  return client.authorizationCodeGrant(config, back, checks, undefined, options)
}

async function use(config, tokens, options) {
  const { sub } = tokens.claims()
  const who = await client.fetchUserInfo(config, tokens.access_token, sub, options)
  sameOrThrow(who.preferred_username, 'alice', 'userinfo')
  const next = await client.refreshTokenGrant(config, tokens.refresh_token, undefined, options)
  await client.fetchUserInfo(config, next.access_token, sub, options)
  await client.tokenRevocation(config, next.refresh_token)
  await refused(client.refreshTokenGrant(config, next.refresh_token, undefined, options), 'invalid_grant')
  return { type: tokens.token_type, sub, again: next.token_type, scope: tokens.scope }
}

async function device(config, options) {
  const started = await client.initiateDeviceAuthorization(config, { scope: SCOPE })
  await ask({ device: started })
  return client.pollDeviceAuthorizationGrant(config, started, undefined, options)
}

async function bound(config) {
  return { DPoP: client.getDPoPHandle(config, await client.randomDPoPKeyPair('ES256')) }
}

await run({
  async code_basic() {
    const config = await find('awkward', client.ClientSecretBasic(given.secret))
    return use(config, await code(config, client.buildAuthorizationUrl))
  },
  async code_post_par() {
    const config = await find('awkward', client.ClientSecretPost(given.secret))
    return use(config, await code(config, client.buildAuthorizationUrlWithPAR))
  },
  async code_public_dpop() {
    const config = await find('native', client.None())
    const options = await bound(config)
    return use(config, await code(config, client.buildAuthorizationUrl, options), options)
  },
  async code_key_par_dpop() {
    const key = await crypto.subtle.importKey(
      'jwk', given.jwk, { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }, false, ['sign'])
    const config = await find('keyed', client.PrivateKeyJwt({ key, kid: given.jwk.kid }))
    const options = await bound(config)
    return use(config, await code(config, client.buildAuthorizationUrlWithPAR, options), options)
  },
  async device() {
    const config = await find('DIRAC_CLI', client.None())
    return use(config, await device(config))
  },
  async device_dpop() {
    const config = await find('DIRAC_CLI', client.None())
    const options = await bound(config)
    return use(config, await device(config, options), options)
  },
})
