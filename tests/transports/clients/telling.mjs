// What a client hears, a JSON line each.
export const tell = (name, value) => console.log(JSON.stringify({ [name]: value ?? true }));
export const [, , url, given = "{}"] = process.argv;
// query, variables; `headers` go with it, `first`: leave after so many
export const request = JSON.parse(given);
