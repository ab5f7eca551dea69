// Fetching files of this registry, and no others: from below the page's own folder, plain paths only, at
// most so many bytes, no redirect. Everything is read once; what is parsed is what was hashed.

/** A reason that people can read; `memory` says what this browser remembers that speaks against it. */
export class Refused extends Error {
    constructor(why, memory = null) {
        super(why);
        this.memory = memory;
    }
}

/** Ends with a reason. */
export function refuse(why, memory) {
    throw new Refused(why, memory);
}

export const hex = (bytes) => Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** The bytes that a base64 text stands for; null if it is none. */
export function base64(text) {
    try {
        return typeof text === "string" && text !== "" ? Uint8Array.from(atob(text), (one) => one.charCodeAt(0)) : null;
    } catch {
        return null;
    }
}

export const sha256 = (bytes) => crypto.subtle.digest("SHA-256", bytes);

const PLAIN = /^[a-z0-9][a-z0-9._-]*(\/[a-z0-9][a-z0-9._-]*)*$/;

/** The address of a path inside the registry. */
export function address(path, base) {
    if (typeof path !== "string" || path.length > 300 || !PLAIN.test(path) || path.includes("..")) {
        refuse(`${JSON.stringify(String(path).slice(0, 80))} is not a plain path inside the registry`);
    }
    const url = new URL(path, base);
    if (url.origin !== base.origin || !url.href.startsWith(base.href)) refuse(`${path} leaves the registry`);
    return url;
}

/** The bytes of a file of at most `most` bytes; null if there is none and `optional` allows that. */
export async function bytesOf(path, base, most, optional = false) {
    const url = address(path, base);
    let response;
    try {
        response = await fetch(url, { redirect: "error", credentials: "omit", mode: "same-origin", cache: "no-store" });
    } catch {
        refuse(`${path} cannot be fetched from here: no answer, or an answer from elsewhere`);
    }
    if (response.status === 404 && optional) return null;
    if (!response.ok) refuse(`the server answered ${response.status} for ${path}`);
    const reader = response.body.getReader();
    const parts = [];
    let length = 0;
    for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        length += value.length;
        if (length > most) {
            await reader.cancel();
            refuse(`${path} has more than ${most} bytes`);
        }
        parts.push(value);
    }
    const whole = new Uint8Array(length);
    let at = 0;
    for (const part of parts) {
        whole.set(part, at);
        at += part.length;
    }
    return whole;
}

/** The bytes of a file that must have this SHA-256. */
export async function digested(path, digest, base, most) {
    const bytes = await bytesOf(path, base, most);
    const found = hex(await sha256(bytes));
    if (found !== digest) refuse(`${path} has the SHA-256 ${found.slice(0, 12)}…, ${digest.slice(0, 12)}… was expected`);
    return bytes;
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The JSON value in bytes. */
export function parsed(bytes, what) {
    try {
        return JSON.parse(strict.decode(bytes));
    } catch {
        return refuse(`${what} is not JSON`);
    }
}

/** The body of a record of one type and version; another is never taken for it. */
export function record(bytes, type, what) {
    const document = parsed(bytes, what);
    fields(document, ["body", "type"], what);
    if (document.type !== `urn:studbook:${type}`) refuse(`${what} is a ${String(document.type).slice(0, 60)}, not a ${type}`);
    return document.body;
}

/** An object with exactly these members. */
export function fields(value, names, what) {
    if (value === null || typeof value !== "object" || Array.isArray(value)) refuse(`${what} is not an object`);
    for (const name of names) if (!Object.hasOwn(value, name)) refuse(`${what} has no ${name}`);
    for (const name of Object.keys(value)) if (!names.includes(name)) refuse(`${what} has an unknown member ${JSON.stringify(name.slice(0, 40))}`);
}

/** What something is, and what it must be. */
export function same(found, expected, what) {
    if (found !== expected) refuse(`${what} is ${String(found).slice(0, 100)}, expected ${String(expected).slice(0, 100)}`);
}

export const isDigest = (text) => typeof text === "string" && /^[0-9a-f]{64}$/.test(text);
export const isCount = (number) => Number.isSafeInteger(number) && number >= 0;
export const isName = (text) => typeof text === "string" && text.length <= 64 && /^[a-z0-9][a-z0-9._-]*$/.test(text) && !text.includes("..");
