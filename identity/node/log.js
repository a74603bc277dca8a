// How often refused requests are logged, for each reason, in milliseconds. Anyone who
// reaches the upstream can cause as many as they like.
const interval = 10_000

// Refusals logs refused requests.
export class Refusals {
	#log
	#by = new Map() // {last, more} by the reason: a handful, because nothing of a request is in one

	constructor(log) {
		this.#log = log
	}

	// add logs a message at a level, or counts it for the next line with that reason.
	add(level, reason, message) {
		const now = performance.now()
		const of = this.#by.get(reason)
		if (of && now - of.last < interval) {
			of.more++
			return
		}
		this.#by.set(reason, { last: now, more: 0 })
		this.#log[level](of?.more ? `${message} (and ${of.more} more since the last such line)` : message)
	}
}
