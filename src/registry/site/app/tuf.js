// The Update Framework, version 1.0: signed metadata that expires and counts up, where a registry has it.
//
// It says who vouches for the files, until when, and which version came before. The root is trusted when it is
// first seen and followed from there; delegations are not used. A registry that had metadata once and has
// none now is refused, or removing it would be the way around it.

import { bytesOf, hex, isCount, isDigest, parsed, refuse, same, sha256 } from "./files.js";

const MOST = 4 << 20;
const MAX_ROOTS = 64;
const ROLES = ["root", "timestamp", "snapshot", "targets"];

/** The canonical JSON that signatures are over. */
function canonical(value) {
    if (typeof value === "string") return `"${value.replace(/[\\"]/g, "\\$&")}"`;
    if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
    if (value !== null && typeof value === "object") {
        return `{${Object.keys(value).sort().map((name) => `${canonical(name)}:${canonical(value[name])}`).join(",")}}`;
    }
    if (typeof value === "number" && !Number.isSafeInteger(value)) refuse("the metadata has a number that is no integer");
    return String(value);
}

const bytesOfHex = (text) => (/^([0-9a-f]{2})+$/.test(text) ? Uint8Array.from(text.match(/../g), (pair) => parseInt(pair, 16)) : null);

/** Whether a key signed it; what cannot be a key or a signature is no signature. */
async function signed(key, signature, message) {
    const [raw, sig] = [bytesOfHex(key?.keyval?.public ?? ""), bytesOfHex(signature ?? "")];
    if (key?.keytype !== "ed25519" || key.scheme !== "ed25519" || raw?.length !== 32 || sig?.length !== 64) return false;
    const imported = await crypto.subtle.importKey("raw", raw, { name: "Ed25519" }, false, ["verify"]);
    return crypto.subtle.verify("Ed25519", imported, sig, message);
}

/** Metadata of a role, vouched for by as many different keys as a root asks for. */
async function verified(document, role, root, what, memory = null) {
    const keys = root.keys ?? {};
    const rule = root.roles?.[role];
    if (!rule || !isCount(rule.threshold) || rule.threshold < 1 || !Array.isArray(rule.keyids)) refuse(`the root names no keys for ${role}`);
    const message = new TextEncoder().encode(canonical(document.signed));
    const good = new Set();
    for (const { keyid, sig } of Array.isArray(document.signatures) ? document.signatures : []) {
        if (rule.keyids.includes(keyid) && Object.hasOwn(keys, keyid) && (await signed(keys[keyid], sig, message))) good.add(keys[keyid].keyval.public);
    }
    if (good.size < rule.threshold) refuse(`${what} has ${good.size} of the ${rule.threshold} signatures it needs`, memory);
    const body = document.signed;
    same(body._type, role, `the role of ${what}`);
    if (!/^1\./.test(String(body.spec_version))) refuse(`${what} is of another version of the framework`);
    if (!isCount(body.version) || body.version < 1) refuse(`${what} has no version`);
    return body;
}

function unexpired(body, what, now) {
    const good = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(body.expires);
    const until = good ? Date.parse(body.expires) : NaN;
    if (!(until > now)) refuse(`${what} expired${good ? ` on ${body.expires}` : ""}: whoever publishes this registry must renew it`);
}

/** Length and digest, where they are named. */
async function fits(bytes, named, what) {
    if (named?.length !== undefined) same(bytes.length, named.length, `the length of ${what}`);
    if (named?.hashes?.sha256 !== undefined) same(hex(await sha256(bytes)), named.hashes.sha256, `the SHA-256 of ${what}`);
}

/** The root: the remembered or the first one, followed version by version. */
async function rootOf(base, memory, known, now) {
    const first = memory.root ? new TextEncoder().encode(memory.root) : await bytesOf("metadata/1.root.json", base, MOST, true);
    if (first === null) return null;
    let text = new TextDecoder().decode(first);
    let document = parsed(first, "the root");
    let root = await verified(document, "root", document.signed ?? {}, "the root");
    for (let step = 0; step < MAX_ROOTS; step++) {
        const what = `root ${root.version + 1}`;
        const next = await bytesOf(`metadata/${root.version + 1}.root.json`, base, MOST, true);
        if (next === null) {
            unexpired(root, "the root", now);
            return { root, text };
        }
        document = parsed(next, what);
        await verified(document, "root", root, what, known);
        const body = await verified(document, "root", document.signed, what);
        same(body.version, root.version + 1, `the version of ${what}`);
        [root, text] = [body, new TextDecoder().decode(next)];
    }
    return refuse(`more than ${MAX_ROOTS} new roots at once`);
}

/** The metadata of a registry; null if it never had any. */
export async function metadata(base, now = Date.now()) {
    const key = `studbook-tuf ${base.pathname}`;
    let memory = {};
    try {
        memory = JSON.parse(localStorage.getItem(key)) ?? {};
    } catch {
        // Storage is off: every look is a first one.
    }
    // What may be said by another registry at this address as well as by a false one.
    const known = memory.root ? key : null;
    const found = await rootOf(base, memory, known, now);
    if (found === null) return null;
    const { root, text } = found;
    const seen = { ...memory, root: text };
    let named = { version: null };
    let listed = null;
    let until = root.expires;
    for (const role of ROLES.slice(1)) {
        const consistent = root.consistent_snapshot === true && role !== "timestamp";
        const path = `metadata/${consistent ? `${named.version}.` : ""}${role}.json`;
        const bytes = await bytesOf(path, base, MOST, true);
        if (bytes === null) refuse(`${path} is missing`, known);
        await fits(bytes, named, path);
        const body = await verified(parsed(bytes, path), role, root, path, known);
        if (role !== "timestamp") same(body.version, named.version, `the version of ${path}`);
        if (body.version < (memory[role] ?? 0)) {
            refuse(`${path} has version ${body.version}, this browser has seen ${memory[role]}: it was rolled back`, key);
        }
        unexpired(body, path, now);
        if (body.expires < until) until = body.expires;
        seen[role] = body.version;
        const next = ROLES[ROLES.indexOf(role) + 1];
        if (next) {
            named = body.meta?.[`${next}.json`];
            if (!isCount(named?.version)) refuse(`${path} names no ${next}`);
        } else {
            listed = body.targets ?? {};
        }
    }
    try {
        localStorage.setItem(key, JSON.stringify(seen));
    } catch {
        // As above.
    }
    return {
        version: seen.timestamp,
        expires: until,
        /** A file by its name: what the metadata lists, from where it lies under its content. */
        bytes: async (path, most) => {
            if (!Object.hasOwn(listed, path)) refuse(`${path} is not among the files that the metadata lists`);
            const target = listed[path];
            if (!isCount(target.length) || !isDigest(target.hashes?.sha256)) refuse(`the metadata lists ${path} without length or digest`);
            const place = root.consistent_snapshot === true ? path.replace(/[^/]*$/, (name) => `${target.hashes.sha256}.${name}`) : path;
            const bytes = await bytesOf(place, base, most);
            await fits(bytes, target, path);
            return bytes;
        },
    };
}
