// A certified OpenID Connect provider that signs in whoever `login_hint` names, without a page.
// Arguments: our address, the name of one person and their claims as JSON. Prints its issuer when it listens.
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const [house, people] = [process.argv[2], JSON.parse(process.argv[3])];
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const AUDIENCE = 'itb-api';
const RESOURCE = 'urn:itb:api';

const shared = { id_token_signed_response_alg: 'ES256', response_types: ['code'], grant_types: ['authorization_code', 'refresh_token'] };
const clients = [
  {
    ...shared,
    client_id: 'itb-web',
    client_secret: 'demo-only-not-a-secret',
    redirect_uris: ['bankid-no', 'bankid-se', 'vipps'].map((provider) => `${house}/login/callback/${provider}`),
    post_logout_redirect_uris: [`${house}/logout/done`],
    backchannel_logout_uri: `${house}/logout/backchannel/nordhelse`,
    backchannel_logout_session_required: true,
  },
  {
    ...shared,
    client_id: 'itb-app',
    token_endpoint_auth_method: 'none',
    application_type: 'native',
    redirect_uris: ['http://127.0.0.1:4711/callback'],
  },
];

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  server.on('request', provide(issuer).callback());
  console.log(issuer);
});

function provide(issuer) {
  const provider = new Provider(issuer, {
    clients,
    enableHttpPostMethods: true, // as OpenID Connect RP-Initiated Logout 1.0 demands; it is off unless asked for
    cookies: { long: { sameSite: 'none' } },
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), alg: 'ES256', use: 'sig', kid: 'certified' }] },
    claims: { openid: ['sub', 'pid', 'auth_time', 'acr'], profile: ['name', 'birthdate', 'locale', 'phone_number'] },
    conformIdTokenClaims: false,
    extraParams: ['kc_idp_hint'],
    fetch: (url, { dispatcher, ...options }) => fetch(url, options),
    findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id, ...people[id] }) }),
    extraTokenClaims: async (ctx, token) => {
      const session = token.sessionUid && (await provider.Session.findByUid(token.sessionUid));
      return { ...people[token.accountId], auth_time: session?.authTime(), acr: 'urn:sandbox:loa:high' };
    },
    issueRefreshToken: (ctx, client) => client.grantTypeAllowed('refresh_token'),
    rotateRefreshToken: true,
    loadExistingGrant: granted,
    interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
    features: {
      devInteractions: { enabled: false },
      backchannelLogout: { enabled: true },
      rpInitiatedLogout: { enabled: true, logoutSource: (ctx, form) => { ctx.body = form; } },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => RESOURCE,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({ scope: '', audience: AUDIENCE, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } }),
      },
    },
    pkce: { required: () => true },
  });
  provider.use(async (ctx, next) => (ctx.path.startsWith('/interaction/') ? signIn(provider, ctx) : next()));
  return provider;
}

async function granted(ctx) {
  const grant = new ctx.oidc.provider.Grant({ accountId: ctx.oidc.session.accountId, clientId: ctx.oidc.client.clientId });
  grant.addOIDCScope('openid profile');
  await grant.save();
  return grant;
}

async function signIn(provider, ctx) {
  const { params, prompt } = await provider.interactionDetails(ctx.req, ctx.res);
  const result = prompt.name === 'consent' ? { consent: {} } : { login: { accountId: params.login_hint } }; // apps are asked each time
  ctx.respond = false;
  await provider.interactionFinished(ctx.req, ctx.res, result, { mergeWithLastSubmission: false });
}
