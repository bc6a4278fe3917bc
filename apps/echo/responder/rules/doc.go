// Package rules says what an echo responder does with each request: answer at once,
// late, twice, damaged, with an ICMP error, or not at all.
//
// Rules come from a file in YAML, of which [Schema] is the schema. The first rule for
// the addresses of a request decides, and if there is none, it is answered:
//
//	version: 1
//	seed: 42                 # 0 if left out
//	rules:
//	  - name: far            # for counters
//	    to: [10.64.0.0/16, fd00:64::/32]
//	    delay: normal:80ms,5ms
//	    loss: 1%
//	    reorder: 0.5%,by=30ms
//	  - name: damaged
//	    to: 10.65.0.0/16
//	    from: 192.0.2.0/24   # only if these ask
//	    corrupt: {flip: 2%, checksum: 1%, truncate: 1%}
//	    duplicate: 1%,copies=2
//	  - name: gone
//	    to: 10.66.0.0/16
//	    error: {type: host unreachable, probability: 50%, from: 10.66.0.1}
//	    rate: 100
//	  - name: reboots
//	    to: 10.67.0.0/16
//	    down: {from: 10s, to: 20s, every: 1m}
//	  - to: 0.0.0.0/0
//	    silent: true
//
// They are looked up as packets come:
//
//	set, err := rules.ReadFile("rules.yaml")
//	if err != nil {
//		return err // every fault, with its line and column
//	}
//	decider := set.NewDecider(0) // one per loop
//	...
//	d := decider.Decide(&rules.Packet{From: peer, To: local, ID: id, Seq: seq, Data: data}, elapsed)
//	if d.Drop == rules.Answered {
//		reply = d.AppendData(reply, data)
//	}
//
// # Keys of a rule
//
// Probabilities are written as 1% or 0.01, times as Go does, such as 20ms. Where there
// are several fields, a text such as 1%,by=50ms is as good as a mapping.
//
//   - name, in counters and errors.
//   - to and from: prefixes or addresses, one or a list. Without to, the rule is for all
//     addresses; without from, for all who ask.
//   - silent: true. There is no answer.
//   - loss: the probability that there is no answer.
//   - delay: how long to hold an answer. 20ms or constant:20ms; uniform:MIN,MAX;
//     normal:MEAN,DEVIATION, where what is below 0 counts as 0; pareto:MIN,SHAPE or
//     pareto:MIN,SHAPE,MAX, the distribution of Pareto's first kind, P(delay > x) =
//     (MIN/x)^SHAPE, where what is above MAX counts as MAX. No time in a file is longer
//     than an hour, and no delay before reorder either.
//   - jitter: a time that is added, evenly from -jitter to +jitter. Below 0 the sum
//     counts as 0.
//   - reorder: the probability that an answer is held for a time by besides. Those to
//     requests that come within that time overtake it, if they are not delayed more.
//   - duplicate: the probability that an answer comes again, copies times (1).
//   - corrupt: the probability of each damage to a reply: flip, one byte of the data is
//     another, the one with the number at if it is given, from the end if at is
//     negative; checksum, it is wrong; truncate, the data is shorter; lengthen, the data
//     is longer. Only one of the last two happens at a time. Unless it is the damage, the
//     checksum is right.
//   - code: the ICMP code of replies. ttl, tos: those of the IP header of answers.
//   - source: the address that replies come from, one per family.
//   - error: an ICMP error in place of a reply. type is a number or a name of the RFCs
//     (792, 1122, 1812, 4443 and others), of the type, which code may follow, or of the
//     code; probability, 100% if left out; quote, how many bytes of the request at
//     most; mtu; from, one address per family.
//   - rate: how many replies there may be a second to all addresses of the rule
//     together, copies and errors too. A bucket holds burst of them, by default as many
//     as in a second, so in t seconds there are rate*t + burst at most. What is too much
//     is not answered.
//   - down: time windows without an answer, one or a list: while from <= t < to, of the
//     time since the beginning or, if there is every, since its last multiple.
//
// Without an answer for another reason, nothing is taken from the rate. An error has
// the delay, the copies, the ttl and the tos of a reply.
//
// # Luck
//
// What a probability or a distribution decides is a function of the seed, the packet
// with its addresses, identifier, sequence number and data, and how often it was seen
// before: it does not depend on the time, nor on which other packets come and in which
// order. So the same seed and the same packets give the same answers, on every machine
// (normal and Pareto delays may differ by a nanosecond from one architecture to
// another). Each kind of luck is independent of the others. For how long a packet is
// remembered, see [Set.NewDecider].
package rules
