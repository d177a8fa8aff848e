import { Client, fetchExchange } from "@urql/core";
import { request, tell, url } from "./telling.mjs";

// urql aborts its fetch when one leaves, and leaves the reader's error to nobody
process.on("unhandledRejection", (failure) => {
  if (failure.name !== "AbortError") throw failure;
});

const { query, variables, headers, first } = request;
const client = new Client({ url, exchanges: [fetchExchange], fetchSubscriptions: true, fetchOptions: { headers } });
const told = ({ data, error }) => ({
  ...(data && { data }),
  ...(error && { errors: error.graphQLErrors, network: error.networkError?.message }),
});
if (/^\s*subscription/.test(query)) {
  let heard = 0;
  await new Promise((done) => {
    const { unsubscribe } = client.subscription(query, variables).subscribe((result) => {
      tell("next", told(result));
      heard += 1;
      if (heard === first) unsubscribe();
      if (heard === first || result.hasNext === false || result.error) done();
    });
  });
} else {
  tell("next", told(await client.query(query, variables ?? {}, { preferGetMethod: false }).toPromise()));
}
tell("complete");
