// The page: verifies a registry, lists who is in it, shows why, runs them.

import { Bench } from "./compare.js";
import { Engine, missing } from "./engine.js";
import { bytesOf, same } from "./files.js";
import { defaultOf, ledger } from "./ledger.js";
import { BUDGET, evidence, selector } from "./selector.js";
import { metadata } from "./tuf.js";
import { bytesText, details, digestText, element, licenceText } from "./view.js";

const base = new URL(".", location.href);
const at = (id) => document.getElementById(id);

/** Ends the page with a reason: nothing of a registry that does not hold is shown. */
function end(why, memory = null) {
    at("state").replaceChildren(element("span.refusal", { role: "alert" }, `Refused: ${why}`));
    if (memory) at("state").append(another(memory));
    at("state").dataset.state = "refused";
    at("go").disabled = true;
}

// The way on for who put another registry at this address: what this browser remembers of the old one is
// forgotten, which only a person can decide.
function another(memory) {
    const forget = () => {
        localStorage.removeItem(memory);
        location.reload();
    };
    const why = "Whoever rolls a registry back hopes for this click: only do it if you know that another one was put here.";
    return element("span.another", {}, ` ${why} `, element("button.quiet", { id: "another", type: "button", onclick: forget }, "Forget the one seen before"));
}

class Registry {
    #cards = new Map();
    #found = new Map();
    #refused = new Map();

    constructor(entries, chosen, log) {
        this.entries = entries;
        this.chosen = chosen;
        this.log = log;
        this.bench = new Bench(new Engine(BUDGET), base, (id) => this.verified(id));
        for (const id of ["search", "size", "sort"]) at(id).addEventListener("input", () => this.list());
        at("filters").addEventListener("submit", (event) => event.preventDefault());
    }

    /** The entry, once its manifest, admission and evidence are known to hold. */
    async verified(id) {
        const entry = this.entries.find((one) => one.id === id);
        if (!entry) throw new Error(`there is no model ${id}`);
        if (!this.#found.has(id)) this.#found.set(id, evidence(entry, base, this.log));
        await this.#found.get(id);
        return entry;
    }

    /** Verifies everybody, a few at a time, and says so on the cards. */
    async verifyAll() {
        const waiting = [...this.entries];
        const work = async () => {
            for (let entry = waiting.shift(); entry; entry = waiting.shift()) {
                try {
                    await this.verified(entry.id);
                } catch (error) {
                    this.#refused.set(entry.id, error.message);
                }
            }
        };
        await Promise.all([work(), work(), work(), work()]);
        for (const entry of this.entries) await this.#card(entry);
        this.list();
        const good = this.entries.filter((entry) => !this.#refused.has(entry.id));
        this.bench.offer(good);
        const first = good.find((entry) => entry.id === this.chosen) ?? good[0];
        if (first) await this.show(first.id, false);
        return good.length;
    }

    async #card(entry) {
        const why = this.#refused.get(entry.id);
        if (why !== undefined) {
            const card = element("li.card.bad", { "data-id": entry.id }, element("h3", {}, entry.id), element("p.refusal", {}, `Refused: ${why}`));
            this.#cards.set(entry.id, { card, words: entry.id });
            return;
        }
        const found = await this.#found.get(entry.id);
        const operator = found.lineage?.operator.name ?? "unknown operator";
        const measured = found.evaluations.flatMap((one) => Object.entries(one.metrics).slice(0, 1).map(([, metric]) => `${one.suite.name} ${metric.value.toFixed(3)}`));
        const button = element("button.name", { type: "button", "aria-describedby": `about-${entry.id}`, onclick: () => this.show(entry.id, true) }, entry.id);
        const about = element("p", { id: `about-${entry.id}` }, `${operator}, ${found.manifest.identity.quantisation.name}, ${bytesText(entry.model.bytes)}`);
        const card = element("li.card", { "data-id": entry.id }, element("h3", {}, button), about, element("p.hint", {}, measured.join(" · ") || "not measured"), element("p.badges", {}, element("span.badge.good", {}, "verified"), entry.id === this.chosen ? element("span.badge.good", {}, "default") : null, element("span.badge", {}, licenceText(entry.licence))));
        this.#cards.set(entry.id, { card, words: `${entry.id} ${entry.cycle} ${operator} ${entry.licence} ${found.manifest.identity.quantisation.name}`.toLowerCase() });
    }

    /** Shows the cards that fit the filters. */
    list() {
        const words = at("search").value.toLowerCase().split(/\s+/).filter(Boolean);
        const most = Number(at("size").value) || Infinity;
        const fits = (entry) => entry.model.bytes <= most && words.every((word) => this.#cards.get(entry.id)?.words.includes(word));
        const order = at("sort").value === "bytes" ? (a, b) => a.model.bytes - b.model.bytes : (a, b) => (a.id < b.id ? -1 : 1);
        const shown = this.entries.filter(fits).sort(order);
        at("list").replaceChildren(...shown.map((entry) => this.#cards.get(entry.id).card));
        at("none").hidden = shown.length > 0;
    }

    /** Opens an entry beside the list. */
    async show(id, move) {
        const entry = await this.verified(id);
        at("detail").replaceChildren(...details(entry, await this.#found.get(id)));
        at("detail").hidden = false;
        this.bench.choose(id);
        for (const [other, { card }] of this.#cards) {
            card.classList.toggle("chosen", other === id);
            card.querySelector("button")?.setAttribute("aria-current", String(other === id));
        }
        if (move) at("detail").focus({ preventScroll: false });
    }
}

async function start() {
    at("state").textContent = "Verifying…";
    at("go").disabled = true;
    const lacks = missing();
    if (lacks) return end(`this browser lacks ${lacks}`);
    try {
        const vouched = await metadata(base);
        const read = vouched?.bytes ?? ((path, most) => bytesOf(path, base, most));
        const [{ entries, default: chosen }, log] = await Promise.all([selector(read), ledger(base, read)]);
        const registry = new Registry(entries, chosen === defaultOf(entries, log.leaves) ? chosen : null, log);
        const good = await registry.verifyAll();
        const bad = entries.length - good;
        // An entry that lies about its manifest moves the default; then it is that entry which is refused.
        if (bad === 0) same(chosen, registry.chosen ?? defaultOf(entries, log.leaves), "the default");
        at("state").textContent = `${good} verified ${good === 1 ? "model" : "models"}${bad > 0 ? `, ${bad} refused` : ""}`;
        at("state").dataset.state = bad > 0 ? "partly" : "verified";
        const trust = log.known ? "it extends the one this browser has seen before" : "this browser sees it for the first time";
        const signature = log.signed ? "signed by its log" : "unsigned";
        at("ledger").replaceChildren(
            `Ledger ${log.head.origin}: ${log.head.size} entries under the root `,
            digestText(log.head.root),
            `, ${signature}; ${trust}. `,
            vouched ? `Signed metadata, version ${vouched.version}, until ${vouched.expires.slice(0, 10)}.` : "No signed metadata: nothing says how old this registry may be.",
        );
    } catch (error) {
        end(error.message, error.memory);
    }
}

start();
