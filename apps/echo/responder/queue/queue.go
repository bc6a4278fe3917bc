// Package queue holds replies until they are due, in memory of a fixed size.
//
//	q, err := queue.New[netip.AddrPort](10_000, 16<<20)
//	...
//	if !q.Push(now+delay, peer, reply) {
//		// full: it is counted in q.Refused()
//	}
//	...
//	for {
//		peer, reply, ok := q.Pop(now, buf[:0])
//		if !ok {
//			break
//		}
//		send(reply, peer)
//	}
//	if due, ok := q.Next(); ok {
//		timer.Reset(due - now)
//	}
//
// The queue has no clock: a time is a duration since whatever moment the caller
// chooses.
package queue

import (
	"fmt"
	"time"
)

// Queue holds values with data by the time when they are due; those of the same time
// stay in the order in which they came. Whoever fills it, it never takes more memory
// than it was made with, and nothing is pushed out: what finds it full is refused. It is
// not safe for concurrent use.
type Queue[T any] struct {
	order   []entry // a heap, 4-ary, the first at its root
	seq     uint64  // of the next value
	items   []item[T]
	free    int32 // the first item that is not used; the others by first
	blocks  blocks
	used    int
	refused uint64
}

// entry is a value in the heap, with what it is compared by.
type entry struct {
	due  time.Duration
	seq  uint64
	item int32
}

// item is a value. It stays where it is while the entries move.
type item[T any] struct {
	value T
	first int32 // block of its data; of an item that is not used, the next such item
	size  int32 // of the data, in bytes
}

// nothing ends a list of items or blocks.
const nothing = -1

// MaxItems and MaxBytes are the most values and the most data of a Queue.
const (
	MaxItems = 1 << 24
	MaxBytes = 1 << 30
)

// New returns a Queue for that many values with that much data in all, from 1 each.
// Data counts in blocks of [BlockSize] bytes. The memory is asked of the system at once,
// which gives it as it is used; there is no allocation after that.
//
// It is an error if a number is below 1 or above MaxItems or MaxBytes.
func New[T any](items, bytes int) (*Queue[T], error) {
	switch {
	case items < 1 || items > MaxItems:
		return nil, fmt.Errorf("queue: room for %d values; it can be from 1 to %d", items, MaxItems)
	case bytes < 1 || bytes > MaxBytes:
		return nil, fmt.Errorf("queue: room for %d bytes; it can be from 1 to %d", bytes, MaxBytes)
	}
	return &Queue[T]{
		order:  make([]entry, 0, items),
		items:  make([]item[T], items),
		free:   nothing,
		blocks: newBlocks(blocksOf(bytes)),
	}, nil
}

// Len returns how many values there are.
func (q *Queue[T]) Len() int { return len(q.order) }

// Bytes returns how much memory their data takes, in bytes.
func (q *Queue[T]) Bytes() int { return q.blocks.taken * BlockSize }

// Refused returns how many values Push has refused.
func (q *Queue[T]) Refused() uint64 { return q.refused }

// Push puts in a value with a copy of its data. If there is no room for both, it
// returns false, and the value is counted as refused.
func (q *Queue[T]) Push(due time.Duration, value T, data []byte) bool {
	if len(q.order) == len(q.items) || !q.blocks.fit(len(data)) {
		q.refused++
		return false
	}
	i := q.free
	if i == nothing { // all items that were ever used are
		i = int32(q.used)
		q.used++
	} else {
		q.free = q.items[i].first
	}
	q.items[i] = item[T]{value, q.blocks.put(data), int32(len(data))}
	q.order = append(q.order, entry{})
	q.up(len(q.order)-1, entry{due, q.seq, i})
	q.seq++
	return true
}

// Next returns when the first value is due. It returns false if there is none.
func (q *Queue[T]) Next() (due time.Duration, ok bool) {
	if len(q.order) == 0 {
		return 0, false
	}
	return q.order[0].due, true
}

// Pop takes out the first value if it is due at a time, or before, and appends its
// data to dst. It returns false, and dst, if none is due.
func (q *Queue[T]) Pop(now time.Duration, dst []byte) (value T, data []byte, ok bool) {
	if len(q.order) == 0 || q.order[0].due > now {
		return value, dst, false
	}
	i := q.order[0].item
	last := len(q.order) - 1
	e := q.order[last]
	q.order = q.order[:last]
	if last > 0 {
		q.down(e)
	}
	it := &q.items[i]
	value = it.value
	data = q.blocks.take(it.first, int(it.size), dst)
	*it = item[T]{first: q.free} // the value may hold on to memory
	q.free = i
	return value, data, true
}
