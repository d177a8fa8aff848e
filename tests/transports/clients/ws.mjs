import { createClient } from "graphql-ws";
import WebSocket from "ws";
import { request, tell, url } from "./telling.mjs";

const { headers, first, ...operation } = request;
const client = createClient({
  url,
  webSocketImpl: WebSocket,
  connectionParams: headers,
  retryAttempts: 0,
  on: { closed: (event) => tell("closed", event.code) },
});
let heard = 0;
await new Promise((done) => {
  const leave = client.subscribe(operation, {
    next: (result) => {
      tell("next", result);
      if (++heard === first) leave();
    },
    error: (failure) => {
      tell("error", Array.isArray(failure) ? failure : { code: failure.code, reason: failure.reason });
      done();
    },
    complete: () => {
      tell("complete");
      done();
    },
  });
});
await client.dispose();
