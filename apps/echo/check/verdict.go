package check

import "fmt"

// truth is what kind of answer there is.
type truth int

const (
	good     truth = iota // one to each request, and nothing is wrong with it
	repeated              // further ones besides
	nothing               // none
	bad                   // one to each, that must not count as an answer
	failing               // an ICMP message in place of one
	belated               // one to each, after seconds
	limited               // to the first few only
)

// Verdict is how a prober fares.
type Verdict string

const (
	Right     Verdict = "told right"     // what it says is so
	Wrong     Verdict = "told wrong"     // what it counts is not so: a damaged reply as a good one, for instance
	Unnoticed Verdict = "did not notice" // its counts are right, but it does not say what it was
	Unknown   Verdict = "cannot be told" // its output cannot be read, or it sent nothing
)

// verdict compares what a prober says with what there was.
func (f *Fault) verdict(t *Tally) (Verdict, string) {
	if !t.Known {
		return Unknown, "its output has no numbers that can be read"
	}
	if t.Sent == 0 {
		return Unknown, "it sent nothing"
	}
	all := t.Received == t.Sent
	noticed := t.Unlike > 0 || t.Errors > 0 || t.Corrupt > 0
	switch f.truth {
	case good:
		switch {
		case !all:
			return Wrong, "takes replies for lost"
		case t.Copies+t.Errors+t.Corrupt > 0:
			return Wrong, "tells what was not there"
		}
		return Right, ""
	case repeated:
		switch {
		case t.Received != t.Sent:
			return Wrong, "counts copies as replies"
		case t.Copies == 0:
			return Unnoticed, "says nothing of the copies"
		case t.Copies < f.answers*(t.Sent-1) || t.Copies > f.answers*t.Sent: // it may end at the last reply
			return Wrong, fmt.Sprintf("there were %d copies", f.answers*t.Sent)
		}
		return Right, ""
	case nothing:
		switch {
		case t.Received > 0:
			return Wrong, "there was no reply"
		case t.Errors+t.Copies+t.Corrupt > 0:
			return Wrong, "tells what was not there"
		}
		return Right, ""
	case bad:
		switch {
		case t.Received > 0 && noticed:
			return Wrong, "shows it, and counts it as a good reply"
		case t.Received > 0:
			return Wrong, "counts it as a good reply"
		case !noticed:
			return Unnoticed, "takes it for loss"
		}
		return Right, ""
	case failing:
		switch {
		case t.Received > 0:
			return Wrong, "counts it as a reply"
		case !noticed:
			return Unnoticed, "takes it for loss"
		}
		return Right, ""
	case belated:
		switch {
		case all && t.Copies+t.Errors+t.Corrupt == 0:
			return Right, "waits for it"
		case t.Received == 0 && noticed:
			return Right, "tells that it is late"
		case t.Received == 0:
			return Unnoticed, "takes it for loss"
		}
		return Wrong, "all were answered"
	default: // limited
		if t.Received != min(f.answers, t.Sent) {
			return Wrong, fmt.Sprintf("there was %d reply", f.answers)
		}
		return Right, ""
	}
}
