// A receiver as a program of Node has it: its own HTTP server, and the reference library of Standard Webhooks. Its secret
// is in a file, as it was when it was made.

const crypto = require("node:crypto");
const fs = require("node:fs");
const http = require("node:http");
const zlib = require("node:zlib");
const { Webhook } = require("standardwebhooks");

const [, , port, file] = process.argv;

function verified(secret, body, headers) {
  try {
    return Boolean(new Webhook(secret).verify(body, headers));
  } catch {
    return false;
  }
}

http
  .createServer((request, response) => {
    if (request.method === "GET") {
      response.end(new URL(request.url, "http://x").searchParams.get("challenge"));
      return;
    }
    const pieces = [];
    request.on("data", (piece) => pieces.push(piece));
    request.on("end", () => {
      const secret = fs.readFileSync(file, "utf8");
      let body = Buffer.concat(pieces);
      const expected = crypto.createHmac("sha256", secret).update(body).digest("hex");
      const given = request.headers["x-nylas-signature"] ?? "";
      const nylas = given.length === expected.length && crypto.timingSafeEqual(Buffer.from(given), Buffer.from(expected));
      const packed = request.headers["content-encoding"] === "gzip"; // the library takes text only
      const standard = !packed && verified(secret, body, request.headers);
      if (packed) body = zlib.gunzipSync(body);
      const { id, type } = JSON.parse(body);
      console.log(JSON.stringify({ id, type, nylas, standard }));
      response.statusCode = nylas || standard ? 202 : 400;
      response.end("taken");
    });
  })
  .listen(Number(port), "127.0.0.1", () => console.log("Running on"));
