// What the server is asked; what it refuses is said in its own words.

export class Refused extends Error {
  constructor(status, text) {
    super(text || `The server refused with status ${status}.`);
    this.status = status;
  }
}

async function told(response) {
  if (!response.ok) {
    const plain = response.headers.get("Content-Type")?.startsWith("text/plain");
    throw new Refused(response.status, plain ? (await response.text()).trim() : "");
  }
  return response.json();
}

export async function get(what, given = {}, signal = undefined) {
  const known = Object.entries(given).filter(([, value]) => value !== undefined && value !== "");
  const query = new URLSearchParams(known);
  return told(await fetch(`api/${what}?${query}`, { cache: "no-store", signal }));
}

export async function post(what, body) {
  return told(
    await fetch(`api/${what}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    }),
  );
}

export function pictureUrl(id, width) {
  return `picture/${id}.jpg?width=${Math.ceil(width * Math.min(devicePixelRatio, 2))}`;
}
