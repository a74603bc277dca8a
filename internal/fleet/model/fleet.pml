/* The fleet's lease, fencing and change protocol: see README.md.
 *
 * A request that starts after a revocation was confirmed is never accepted, by whichever
 * gateway, however slow, paused, cut off or restarted it was. That is the assertion in
 * the process request. Every step below is atomic, and between any two steps anything
 * else can happen, for as long as it likes: that is what pauses, slow networks and
 * lagging watches look like here.
 *
 * Each -D of the list in the script check takes out one rule, and must break the
 * assertion.
 */

/* How large the model is. */
#ifndef AGAIN
#define AGAIN 1		/* times that a gateway starts or registers again: 0 or 1 */
#endif
#define IDS (AGAIN + 1)	/* registrations of a gateway */
#ifndef CHANGES
#define CHANGES 2	/* changes committed to etcd: 1 or 2 */
#endif

/* Time: in each tick a clock advances by SLOW or FAST, each clock as it likes, so that
 * over any time one runs up to 1.22 times as fast as another. */
#ifndef L
#define L 10		/* how long a lease lasts */
#endif
#define SLOW 9
#define FAST 11
#ifdef NO_FACTOR
#define WAIT L
#else
#define WAIT (L * 5 / 4)
#endif

/* A change from the watch is applied at once, unless something depends on when. */
#if defined(BACK) || defined(ACK_EARLY)
#define ARRIVES
#endif

/* A restore alone is enough to explore: nothing else goes wrong then, and each revoker has
 * one key. */
#ifdef BACK
#define MISHAPS false
#define mayRevoke(r, k) (r != k)
#else
#define MISHAPS true
#define mayRevoke(r, k) true
#endif

#define REGISTRATIONS (2 * IDS)
#define reg(g)      registrations[(g) * IDS + gateways[g].id]
#define bit(n)      (1 << (n))

/* Whether change a is b, or was made after b: the chained sum tells. The number alone does
 * not, once etcd has been restored from a snapshot. */
#define covers(a, b)   ((changes[a].past & bit(b)) != 0)
#define reaches(a, b)  (changes[a].seq >= changes[b].seq)

mtype = { none, loading, serving, fenced };			/* a registration */
mtype = { down, started, loaded, up, stopped, leaving, frozen };/* a gateway */
mtype = { idle, sent, answered };				/* a read for the lease */
mtype = { planned, waiting };					/* a revoker, or idle */

/* What is in etcd. Change 0 is the empty history. */
typedef Change {
	byte past;	/* it and those before it: what the chained sum stands for */
	byte seq;
	byte key;	/* that it revokes */
	byte revoked;	/* keys revoked after it */
};
typedef Registration {
	mtype state = none;
	byte acked;	/* the last change acknowledged */
};
Change changes[CHANGES + 1];
byte made;		/* changes made so far */
byte head;
Registration registrations[REGISTRATIONS];

/* What gateways, and the revokers on them, have in memory. */
typedef Gateway {
	mtype phase = down;
	byte id;	/* which of its registrations is its own */
	bool ran;	/* it has been started before */

	byte arrived;	/* the last change from the watch, perhaps not applied yet */
	byte applied;	/* the change that the replica and the authenticator are at */
	byte revoked;	/* keys that the replica has as revoked */

	mtype read = idle;
	byte seen;	/* the head it answered */
	mtype self = none;	/* the own registration's state it answered */
	byte leased;	/* what would be left of a lease from this read */
	byte lease;	/* what is left of the lease */
};
typedef Revoker {
	mtype step = idle;
	byte key;
	byte change;	/* planned on; later, the one to be acknowledged */
	byte pending;	/* registrations neither acknowledged nor fenced */
	byte cut;	/* registrations to remove after the wait */
	byte wait;	/* what is left of the time to wait, after the last fence */
};
Gateway gateways[2];
Revoker revokers[2];

byte again;		/* starts but for the first of each gateway */
bool confirmed;		/* that key 0 is revoked */

bool checking;		/* a request has taken its first step */

#define live(g)    (gateways[g].phase == loaded || gateways[g].phase == up || gateways[g].phase == stopped)

/* -- Gateways ------------------------------------------------------------------- */

inline startsAnew(g, next) {
	if
	:: gateways[g].ran -> gateways[g].id++; again++
	:: else -> gateways[g].ran = true
	fi;
	reg(g).state = loading;
	gateways[g].phase = next
}
#define canStartAnew(g) (!gateways[g].ran || again < AGAIN)

inline endsRead(g) {
	gateways[g].read = idle; gateways[g].seen = 0;
	gateways[g].self = none; gateways[g].leased = 0
}

inline stops(g, next) {
	gateways[g].lease = 0;
	gateways[g].phase = next;
	endsRead(g)
}

/* The next change that a watch at the gateway's place in the history would deliver. */
#define delivers(g, c) (changes[c].seq == changes[gateways[g].arrived].seq + 1 && covers(head, c))

inline applies(g) {
	if
#ifndef SUM_NOT_COMPARED
	:: !covers(gateways[g].arrived, gateways[g].applied) ->
		stops(g, frozen);
		gateways[g].arrived = gateways[g].applied;
		printf("gateway %d: freezes, this change does not follow its own\n", g)
#endif
	:: else ->
		gateways[g].applied = gateways[g].arrived;
		gateways[g].revoked = gateways[g].revoked | bit(changes[gateways[g].applied].key);
		printf("gateway %d: has applied change %d\n", g, gateways[g].applied)
	fi
}

inline receives(g, c) {
	gateways[g].arrived = c;
	printf("gateway %d: receives change %d\n", g, c);
#ifndef ARRIVES
	applies(g)
#endif
}

#ifdef ACK_EARLY
#define toAck(g) gateways[g].arrived
#else
#define toAck(g) gateways[g].applied
#endif

/* Whether, for revoker r, a change that is acknowledged as a says that change b was
 * applied: its number is high enough, and the revoker's own replica has both. */
#define has(r, c) covers(gateways[r].applied, c)
#if defined(ACK_WITHOUT_SUM)
#define acknowledges(r, a, b) (reaches(a, b) && has(r, b))
#elif defined(WAIT_WITHOUT_SUM)
#define acknowledges(r, a, b) (reaches(a, b) && has(r, a))
#else
#define acknowledges(r, a, b) (reaches(a, b) && has(r, a) && has(r, b))
#endif

/* What the answer to a read for the lease means, once it can be told. */
#if defined(SEQ_NOT_COMPARED)
#define appliedWhatItRead(g) true
#elif defined(SUM_NOT_COMPARED)
#define appliedWhatItRead(g) reaches(gateways[g].applied, gateways[g].seen)
#else
#define appliedWhatItRead(g) covers(gateways[g].applied, gateways[g].seen)
#endif

inline leases(g) {
#ifdef LEASE_FROM_ANSWER
	gateways[g].lease = L;
#else
	gateways[g].lease = gateways[g].leased;
#endif
	endsRead(g);
	printf("gateway %d: may serve for %d\n", g, gateways[g].lease)
}

inline endsRevoking(r) {
	revokers[r].step = idle; revokers[r].key = 0; revokers[r].change = 0;
	revokers[r].pending = 0; revokers[r].cut = 0; revokers[r].wait = 0
}

inline crashes(g) {
	stops(g, down);
	gateways[g].arrived = gateways[g].applied;
	endsRevoking(g);
	if
	:: g == 0 -> checking = false
	:: else
	fi
}

proctype gateway(byte g) {
	do
	:: d_step { gateways[g].phase == down && canStartAnew(g) ->
		startsAnew(g, started);
		printf("gateway %d: starts, registers as loading\n", g) }

	/* It reads all records, or resumes from those of its last run. */
	:: d_step { gateways[g].phase == started ->
		gateways[g].phase = loaded;
		gateways[g].applied = head; gateways[g].arrived = head;
		gateways[g].revoked = changes[head].revoked;
		printf("gateway %d: has loaded change %d\n", g, head) }
	:: d_step { gateways[g].phase == started ->
		gateways[g].phase = loaded;
		printf("gateway %d: resumes from change %d\n", g, gateways[g].applied) }

	:: d_step { gateways[g].phase == loaded && reg(g).state == loading ->
		reg(g).state = serving; reg(g).acked = gateways[g].applied;
		gateways[g].phase = up;
		printf("gateway %d: registers as serving\n", g) }

	/* The watch. */
	:: d_step { live(g) && gateways[g].arrived == gateways[g].applied && delivers(g, 1) -> receives(g, 1) }
#if CHANGES > 1
	:: d_step { live(g) && gateways[g].arrived == gateways[g].applied && delivers(g, 2) -> receives(g, 2) }
#endif
	:: d_step { live(g) && gateways[g].arrived != gateways[g].applied -> applies(g) }
	:: d_step { gateways[g].phase == up && reg(g).state == serving && reg(g).acked != toAck(g) ->
		reg(g).acked = toAck(g);
		printf("gateway %d: acknowledges change %d\n", g, reg(g).acked) }

	/* The lease. That of gateway 1 is left out: only requests depend on it. */
	:: d_step { g == 0 && gateways[g].phase == up && gateways[g].read == idle ->
		gateways[g].read = sent;
		gateways[g].leased = L;
		printf("gateway %d: notes the time, and begins to read\n", g) }
	:: d_step { gateways[g].read == sent ->
		gateways[g].read = answered;
		gateways[g].seen = head; gateways[g].self = reg(g).state;
		printf("gateway %d: etcd reads the head, %d, and its registration, ", g, head);
		printf("%e\n", gateways[g].self) }
	:: d_step { gateways[g].read == sent && MISHAPS -> endsRead(g); printf("gateway %d: the read fails\n", g) }
	:: d_step { gateways[g].read == answered && gateways[g].self == serving && appliedWhatItRead(g) ->
		leases(g) }
	:: d_step { gateways[g].read == answered && gateways[g].self != serving ->
		stops(g, stopped);
		printf("gateway %d: learns that it was fenced, stops\n", g) }
	/* What gateway 1 would learn by a read. */
	:: d_step { g == 1 && gateways[g].phase == up && reg(g).state == fenced ->
		stops(g, stopped);
		printf("gateway %d: learns that it was fenced, stops\n", g) }
	:: d_step { gateways[g].phase == stopped && canStartAnew(g) ->
		startsAnew(g, loaded);
		printf("gateway %d: registers again, as loading\n", g) }

	/* Its end. */
	:: d_step { gateways[g].phase != down && MISHAPS -> crashes(g); printf("gateway %d: crashes\n", g) }
	:: d_step { gateways[g].phase == up && MISHAPS ->
#ifdef LEAVES_EARLY
		reg(g).state = none;
		gateways[g].phase = leaving; endsRead(g);
#else
		stops(g, leaving);
#endif
		printf("gateway %d: stops, in order to leave\n", g) }
	:: d_step { gateways[g].phase == leaving ->
		reg(g).state = none;
		crashes(g);
		printf("gateway %d: has removed its registration, and ends\n", g) }
	od
}

/* -- Revokers ------------------------------------------------------------------- */

#define inReplica(r, k) ((gateways[r].revoked & bit(k)) != 0)

inline plans(r, k) {
	revokers[r].step = planned; revokers[r].key = k;
	revokers[r].change = gateways[r].applied;
	printf("revoker %d: plans to revoke key %d after change %d\n", r, k, gateways[r].applied)
}

/* The registrations to wait for, as the transaction sees them. */
inline reads(r) {
	i = 0;
	do
	:: i < REGISTRATIONS ->
		if
		:: registrations[i].state == serving -> revokers[r].pending = revokers[r].pending | bit(i)
#ifndef FENCED_SKIPPED
		:: registrations[i].state == fenced -> revokers[r].pending = revokers[r].pending | bit(i)
#endif
		:: else
		fi;
		i++
	:: else -> break
	od;
	i = 0;
	revokers[r].step = waiting
}

inline commits(r) {
	made++;
	changes[made].past = changes[head].past | bit(made);
	changes[made].seq = changes[head].seq + 1;
	changes[made].key = revokers[r].key;
	changes[made].revoked = changes[head].revoked | bit(revokers[r].key);
	head = made;
	revokers[r].change = made;
	printf("revoker %d: commits change %d\n", r, made);
	reads(r)
}

inline asksAgain(r, k) {
	i = 1;
	do
	:: covers(gateways[r].applied, i) && changes[i].key == k -> break
	:: else -> i++
	od;
	revokers[r].key = k; revokers[r].change = i;
	printf("revoker %d: finds key %d revoked by change %d\n", r, k, i);
	reads(r)
}

#define waitsFor(r, i) (revokers[r].step == waiting && (revokers[r].pending & bit(i)) != 0)
#define done(r, i) revokers[r].pending = revokers[r].pending & ~bit(i)

inline fences(r, i) {
	registrations[i].state = fenced; registrations[i].acked = 0;
	done(r, i);
	revokers[r].cut = revokers[r].cut | bit(i);
#ifndef FENCE_NO_WAIT
	revokers[r].wait = WAIT;
#endif
	printf("revoker %d: has fenced registration %d\n", r, i)
}

/* A fenced registration is removed once no lease of it can be left. */
inline removes(r) {
	do
	:: i < REGISTRATIONS ->
		if
		:: (revokers[r].cut & bit(i)) != 0 && registrations[i].state == fenced -> registrations[i].state = none
		:: else
		fi;
		i++
	:: else -> break
	od;
	i = 0
}

#define SETTLES(r, i) \
	:: d_step { waitsFor(r, i) && registrations[i].state == serving && acknowledges(r, registrations[i].acked, revokers[r].change) -> \
		done(r, i); printf("revoker %d: registration %d has acknowledged\n", r, i) } \
	:: d_step { waitsFor(r, i) && registrations[i].state == none -> \
		done(r, i); printf("revoker %d: registration %d has left\n", r, i) } \
	:: d_step { waitsFor(r, i) && (registrations[i].state == serving && !acknowledges(r, registrations[i].acked, revokers[r].change) || registrations[i].state == fenced) -> \
		fences(r, i) }

proctype revoker(byte r) {
	byte i;
	do
	:: d_step { revokers[r].step == idle && live(r) && mayRevoke(r, 0) && !inReplica(r, 0) -> plans(r, 0) }
	:: d_step { revokers[r].step == idle && live(r) && mayRevoke(r, 1) && !inReplica(r, 1) -> plans(r, 1) }
	:: d_step { revokers[r].step == planned && head == revokers[r].change && made < CHANGES -> commits(r) }
	:: d_step { revokers[r].step == planned && head != revokers[r].change ->
		endsRevoking(r);
		printf("revoker %d: replans, the head has moved\n", r) }

	/* Revoked already: asked again, perhaps after its first answer was lost. */
	:: d_step { revokers[r].step == idle && live(r) && mayRevoke(r, 0) && inReplica(r, 0) && !confirmed ->
		asksAgain(r, 0) }

	SETTLES(r, 0)
	SETTLES(r, 1)
#if IDS > 1
	SETTLES(r, 2)
	SETTLES(r, 3)
#endif
	:: d_step { revokers[r].step == waiting && revokers[r].pending == 0 && revokers[r].wait == 0 ->
		confirmed = confirmed || revokers[r].key == 0 && covers(head, revokers[r].change);
		removes(r);
		printf("revoker %d: key %d is confirmed\n", r, revokers[r].key);
		endsRevoking(r) }
	:: d_step { revokers[r].step == waiting && MISHAPS ->
		endsRevoking(r);
		printf("revoker %d: its caller hangs up\n", r) }
	od
}

/* -- A request ------------------------------------------------------------------ */

#ifdef NO_LEASE
#define mayServe(g) (gateways[g].phase == up)
#else
#define mayServe(g) (gateways[g].lease > 0)
#endif

/* A request to gateway 0 that starts after the confirmation of key 0; earlier ones may be
 * accepted. Gateways and keys are alike, so what holds for these holds for all. One
 * request is enough, because it changes nothing. Its start is one step with the first
 * thing it does, because starting earlier makes no difference. */
#define isRevoked    inReplica(0, 0)

#if defined(LEASE_AFTER_LOOKUP)
#define first   (confirmed && !isRevoked)
#define second  mayServe(0)
#elif defined(CACHED_CLOCK)
#define first   mayServe(0)
#define second  (confirmed && !isRevoked)
#else
#define first   (confirmed && mayServe(0))
#define second  !isRevoked
#endif

proctype request() {
	do
	:: d_step { !checking && first -> checking = true; printf("request: first step\n") }
	:: checking && second -> assert(false)
	:: d_step { checking && !(second) -> checking = false }
	od
}

/* -- etcd ------------------------------------------------------------------------ */

#ifdef BACK
/* etcd is restored from a snapshot, once, after it was down for longer than any lease
 * lasts. What was revoked since the snapshot is not promised until it has been put back. */
#ifdef BACK_AT_ONCE
#define longDown true
#else
#define longDown (gateways[0].lease == 0 && gateways[0].leased == 0)
#endif

/* Gateway 0 was loading or serving when the snapshot was taken, gateway 1 serving. */
mtype snapshot;

inline restores() {
	head = 0;
	registrations[0].state = snapshot; registrations[0].acked = 0;
	registrations[IDS].state = serving; registrations[IDS].acked = 0
}

proctype etcd() {
	d_step { head != 0 && longDown ->
		restores();
		confirmed = false;
		printf("etcd: is restored from the snapshot\n") }
}

inline begins() {
	if
	:: snapshot = loading; gateways[0].phase = loaded
	:: snapshot = serving; gateways[0].phase = up
	fi;
	gateways[1].phase = up;
	gateways[0].ran = true; gateways[1].ran = true;
	restores()
}
#endif

/* -- Time ----------------------------------------------------------------------- */

#define less(timer, by) timer = (timer > by -> timer - by : 0)

inline advances(g, by) {
	less(gateways[g].lease, by);
	less(gateways[g].leased, by);
	less(revokers[g].wait, by)
}
#define runs(g) (gateways[g].lease > 0 || gateways[g].leased > 0 || revokers[g].wait > 0)
#define TICK(a, b) d_step { runs(0) || runs(1) -> advances(0, a); advances(1, b); printf("clocks advance by %d and %d\n", a, b) }

proctype time() {
	do
	:: TICK(SLOW, SLOW)
	:: TICK(SLOW, FAST)
	:: TICK(FAST, SLOW)
	:: TICK(FAST, FAST)
#ifdef GOAL
	/* Must be possible: fenced or restarted, confirmed, and serving again. */
	:: confirmed && gateways[0].id > 0 && gateways[0].lease > 0 -> assert(false)
#endif
	od
}

init {
	d_step { changes[0].past = bit(0) };
	atomic {
#ifdef BACK
		begins();
		run etcd();
#endif
		run gateway(0); run gateway(1); run revoker(0); run revoker(1); run request(); run time()
	}
}
