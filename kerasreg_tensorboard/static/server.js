// Asks TensorBoard's server.

export class NoAnswer extends Error {}

// The address of one of our files or routes, below whatever prefix TensorBoard is served at.
export const here = (name) => new URL(name, import.meta.url);

// The JSON that a route answers to `{name: value}`; what is null or undefined is not asked, and
// each entry of a list is.
export async function ask(route, query = {}) {
  const address = here(route);
  for (const [name, value] of Object.entries(query)) {
    for (const each of [value ?? []].flat()) address.searchParams.append(name, each);
  }
  try {
    const reply = await fetch(address);
    if (reply.ok) return await reply.json();
  } catch {
    // No server, or half an answer.
  }
  throw new NoAnswer(address.href);
}
