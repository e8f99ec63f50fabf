// oauth4webapi, step by step as its examples have it; it also plays a resource server (RFC 9068, RFC 9449).
import * as oauth from 'oauth4webapi'
import { ask, given, refused, run, sameOrThrow } from './browser.mjs'

const SCOPE = 'openid profile g:training_user'
const issuer = new URL(given.issuer)
const client = { client_id: 'native' }
const none = oauth.None()

async function discovered(algorithm) {
  return oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm }))
}

// A server that wants a nonce in proofs says so once; the second try has it.
async function twice(call, read) {
  try {
    return await read(await call())
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error
    return read(await call())
  }
}

async function code(as, options) {
  const verifier = oauth.generateRandomCodeVerifier()
  const state = oauth.generateRandomState()
  const expectedNonce = oauth.generateRandomNonce()
  const asked = new URLSearchParams({
    client_id: client.client_id,
    response_type: 'code',
    redirect_uri: given.back,
    scope: SCOPE,
    state,
    nonce: expectedNonce,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  })
  const pushed = await twice(
    () => oauth.pushedAuthorizationRequest(as, client, none, asked, options),
    (answer) => oauth.processPushedAuthorizationResponse(as, client, answer))
  const url = new URL(as.authorization_endpoint)
  url.search = new URLSearchParams({ client_id: client.client_id, request_uri: pushed.request_uri })
  const back = new URL(await ask({ open: url.href }))
  await refused((async () => oauth.validateAuthResponse(as, client, back, 'another state'))(), 'OAUTH_INVALID_RESPONSE')
  const parameters = oauth.validateAuthResponse(as, client, back, state)
  return twice(
    () => oauth.authorizationCodeGrantRequest(as, client, none, parameters, given.back, verifier, options),
    (answer) => oauth.processAuthorizationCodeResponse(
      as, client, answer, { expectedNonce, requireIdToken: true }))
}

async function known(as, tokens, options) {
  const { sub } = oauth.getValidatedIdTokenClaims(tokens)
  const who = await twice(
    () => oauth.userInfoRequest(as, client, tokens.access_token, options),
    (answer) => oauth.processUserInfoResponse(as, client, sub, answer))
  sameOrThrow(who.preferred_username, 'alice', 'userinfo')
  return sub
}

await run({
  async code_at_both_metadata_addresses() {
    const as = await discovered('oauth2')
    sameOrThrow(JSON.stringify(as), JSON.stringify(await discovered('oidc')), 'metadata')
    const tokens = await code(as)
    const request = new Request(given.api, { headers: { authorization: `Bearer ${tokens.access_token}` } })
    const claims = await oauth.validateJwtAccessToken(as, request, given.api)
    return { type: tokens.token_type, sub: await known(as, tokens), client: claims.client_id }
  },
  async code_dpop() {
    const as = await discovered('oidc')
    const keys = await oauth.generateKeyPair('ES256')
    const options = { DPoP: oauth.DPoP(client, keys) }
    const tokens = await code(as, options)
    const sub = await known(as, tokens, options)
    const unbound = new Request(given.api, { headers: { authorization: `Bearer ${tokens.access_token}` } })
    await refused(oauth.validateJwtAccessToken(as, unbound, given.api), 'OAUTH_INVALID_RESPONSE')
    return { type: tokens.token_type, sub, client: client.client_id }
  },
  async device() {
    const as = await discovered('oauth2')
    const cli = { client_id: 'DIRAC_CLI' }
    const started = await oauth.processDeviceAuthorizationResponse(
      as, cli, await oauth.deviceAuthorizationRequest(as, cli, none, { scope: SCOPE }))
    const poll = async () => oauth.processDeviceCodeResponse(
      as, cli, await oauth.deviceCodeGrantRequest(as, cli, none, started.device_code))
    await refused(poll(), 'authorization_pending')
    await ask({ device: started })
    const tokens = await poll()
    return { type: tokens.token_type, sub: oauth.getValidatedIdTokenClaims(tokens).sub, client: 'DIRAC_CLI' }
  },
  async resource_metadata() {
    const api = new URL(given.api)
    const found = await oauth.processResourceDiscoveryResponse(api, await oauth.resourceDiscoveryRequest(api))
    sameOrThrow(found.authorization_servers[0], given.issuer, 'RFC 9728')
    return { type: '', sub: '', client: '' }
  },
})
