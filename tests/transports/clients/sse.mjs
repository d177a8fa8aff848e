import { createClient } from "graphql-sse";
import { request, tell, url } from "./telling.mjs";

const { headers, first, ...operation } = request;
const client = createClient({ url, headers, retryAttempts: 0 });
let heard = 0;
await new Promise((done) => {
  const leave = client.subscribe(operation, {
    next: (result) => {
      tell("next", result);
      if (++heard === first) leave();
    },
    error: (failure) => {
      tell("error", { status: failure.response?.status, message: failure.message });
      done();
    },
    complete: () => {
      tell("complete");
      done();
    },
  });
});
client.dispose();
