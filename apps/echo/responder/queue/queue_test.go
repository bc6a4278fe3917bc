package queue_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"iomux/apps/echo/responder/queue"
)

// reply is what a test puts in.
type reply struct {
	due  time.Duration
	name int
	data string
}

func newQueue[T any](t testing.TB, items, bytes int) *queue.Queue[T] {
	t.Helper()
	q, err := queue.New[T](items, bytes)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// drain takes out what is due.
func drain(q *queue.Queue[int], now time.Duration) (all []reply) {
	for {
		due, _ := q.Next()
		name, data, ok := q.Pop(now, nil)
		if !ok {
			return all
		}
		all = append(all, reply{due, name, string(data)})
	}
}

func TestRepliesComeOutWhenTheyAreDue(t *testing.T) {
	q := newQueue[int](t, 10, 10*queue.BlockSize)
	if _, ok := q.Next(); ok {
		t.Error("something is due in an empty queue")
	}
	for _, r := range []reply{{30, 1, "c"}, {10, 2, "a"}, {20, 3, "b"}, {-5, 4, "early"}} {
		if !q.Push(r.due, r.name, []byte(r.data)) {
			t.Fatalf("%v is refused", r)
		}
	}
	for _, c := range []struct {
		now  time.Duration
		want []reply
		next time.Duration
	}{
		{-6, nil, -5},
		{-5, []reply{{-5, 4, "early"}}, 10},
		{9, nil, 10},
		{20, []reply{{10, 2, "a"}, {20, 3, "b"}}, 30},
		{29, nil, 30},
		{math.MaxInt64, []reply{{30, 1, "c"}}, 0},
	} {
		if got := drain(q, c.now); !slices.Equal(got, c.want) {
			t.Errorf("at %d: %v, want %v", c.now, got, c.want)
		}
		if next, ok := q.Next(); next != c.next || ok != (c.next != 0) {
			t.Errorf("after %d the next is due at %d, %v, want %d", c.now, next, ok, c.next)
		}
	}
	if q.Len() != 0 || q.Bytes() != 0 || q.Refused() != 0 {
		t.Errorf("in the end %d values, %d bytes, %d refused", q.Len(), q.Bytes(), q.Refused())
	}
}

func TestRepliesOfTheSameTimeStayInOrder(t *testing.T) {
	q := newQueue[int](t, 1000, 1)
	for i := range 1000 {
		q.Push(time.Duration(i%3), i, nil)
	}
	var last reply
	for i, r := range drain(q, 2) {
		if i > 0 && (r.due < last.due || r.due == last.due && r.name < last.name) {
			t.Fatalf("%v comes after %v", r, last)
		}
		last = r
	}
}

func TestAFullQueueKeepsWhatItHas(t *testing.T) {
	t.Run("of values", func(t *testing.T) {
		q := newQueue[int](t, 3, 100*queue.BlockSize)
		for i := range 5 {
			// The later ones would even be due earlier.
			if got, want := q.Push(time.Duration(10-i), i, []byte{byte(i)}), i < 3; got != want {
				t.Errorf("value %d is taken: %v", i, got)
			}
		}
		if q.Refused() != 2 || q.Len() != 3 {
			t.Errorf("%d refused, %d there", q.Refused(), q.Len())
		}
		if got := drain(q, 10); !slices.Equal(got, []reply{{8, 2, "\x02"}, {9, 1, "\x01"}, {10, 0, "\x00"}}) {
			t.Errorf("there are %v", got)
		}
		if !q.Push(0, 9, nil) {
			t.Error("the empty queue is full")
		}
	})
	t.Run("of data", func(t *testing.T) {
		q := newQueue[int](t, 100, 4*queue.BlockSize)
		block := make([]byte, queue.BlockSize)
		for _, c := range []struct {
			size  int
			fits  bool
			bytes int
		}{
			{4*queue.BlockSize + 1, false, 0},
			{2*queue.BlockSize + 1, true, 3 * queue.BlockSize},
			{queue.BlockSize + 1, false, 3 * queue.BlockSize},
			{1, true, 4 * queue.BlockSize},
			{1, false, 4 * queue.BlockSize},
			{0, true, 4 * queue.BlockSize},
		} {
			if got := q.Push(0, c.size, bytes.Repeat(block, 5)[:c.size]); got != c.fits || q.Bytes() != c.bytes {
				t.Errorf("%d bytes are taken: %v, and there are %d, want %v, %d", c.size, got, q.Bytes(), c.fits, c.bytes)
			}
		}
		if got := drain(q, 0); len(got) != 3 || q.Bytes() != 0 || q.Refused() != 3 {
			t.Errorf("%d came out, %d bytes are left, %d refused", len(got), q.Bytes(), q.Refused())
		}
	})
}

func TestPopAppendsAndPushCopies(t *testing.T) {
	q := newQueue[int](t, 1, 1000)
	data := bytes.Repeat([]byte("0123456789"), 30)
	want := string(data)
	q.Push(0, 1, data)
	clear(data)
	dst := []byte("before ")
	if _, got, ok := q.Pop(-1, dst); ok || string(got) != "before " {
		t.Errorf("before it is due: %q, %v", got, ok)
	}
	if _, got, ok := q.Pop(0, dst); !ok || string(got) != "before "+want {
		t.Errorf("%q, %v", got, ok)
	}
}

func TestValuesThatCameOutAreNotHeld(t *testing.T) {
	q := newQueue[*[1 << 20]byte](t, 2, 1)
	done := make(chan bool, 1)
	value := new([1 << 20]byte)
	runtime.AddCleanup(value, func(done chan bool) { done <- true }, done)
	q.Push(0, value, nil)
	value = nil
	q.Pop(0, nil)
	for range 100 {
		runtime.GC()
		select {
		case <-done:
			runtime.KeepAlive(q)
			return
		default:
		}
	}
	t.Error("the queue holds on to a value that came out")
}

func TestSizesThatCannotBe(t *testing.T) {
	for _, c := range [][2]int{{0, 1}, {-1, 1}, {1, 0}, {queue.MaxItems + 1, 1}, {1, queue.MaxBytes + 1}} {
		if q, err := queue.New[int](c[0], c[1]); q != nil || err == nil {
			t.Errorf("%d: %v, %v", c, q, err)
		}
	}
}

// model is a queue as a sorted slice.
type model struct {
	all         []reply
	items, size int
	refused     uint64
}

func blocks(data string) int { return (len(data) + queue.BlockSize - 1) / queue.BlockSize }

func (m *model) push(r reply) bool {
	taken := blocks(r.data)
	for _, o := range m.all {
		taken += blocks(o.data)
	}
	if len(m.all) == m.items || taken > m.size {
		m.refused++
		return false
	}
	i, _ := slices.BinarySearchFunc(m.all, r.due, func(o reply, due time.Duration) int {
		if o.due <= due {
			return -1
		}
		return 1
	})
	m.all = slices.Insert(m.all, i, r)
	return true
}

func (m *model) drain(now time.Duration) (out []reply) {
	for len(m.all) > 0 && m.all[0].due <= now {
		out = append(out, m.all[0])
		m.all = m.all[1:]
	}
	return out
}

// checkQueue does what number says with a queue and with the model.
func checkQueue(t *testing.T, steps int, number func(n int) int) {
	t.Helper()
	m := &model{items: 1 + number(40), size: 1 + number(60)}
	q := newQueue[int](t, m.items, m.size*queue.BlockSize)
	now := time.Duration(0)
	pattern := bytes.Repeat([]byte("abcdefghijklmnopqrstuvwxyz"), 40)
	for step := range steps {
		switch number(4) {
		case 0:
			now += time.Duration(number(8))
			if got, want := drain(q, now), m.drain(now); !slices.Equal(got, want) {
				t.Fatalf("step %d: %v came out, want %v", step, got, want)
			}
		default:
			from := number(26)
			r := reply{now + time.Duration(number(20)), step, string(pattern[from:][:number(3)*number(300)])}
			if got, want := q.Push(r.due, r.name, []byte(r.data)), m.push(r); got != want {
				t.Fatalf("step %d: taken %v, want %v", step, got, want)
			}
		}
		bytes := 0
		for _, o := range m.all {
			bytes += blocks(o.data) * queue.BlockSize
		}
		if q.Len() != len(m.all) || q.Refused() != m.refused || q.Bytes() != bytes {
			t.Fatalf("step %d: %d values, %d bytes, %d refused, want %d, %d, %d", step, q.Len(), q.Bytes(), q.Refused(), len(m.all), bytes, m.refused)
		}
	}
	if got, want := drain(q, math.MaxInt64), m.drain(math.MaxInt64); !slices.Equal(got, want) || q.Bytes() != 0 {
		t.Fatalf("in the end: %v, want %v; %d bytes left", got, want, q.Bytes())
	}
}

func TestQueueIsASortedSlice(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		checkQueue(t, 500, rng.IntN)
	}
}

func FuzzQueueIsASortedSlice(f *testing.F) {
	f.Add([]byte("whatever comes, it comes out in order"))
	f.Add(bytes.Repeat([]byte{1, 2, 3, 250}, 100))
	f.Fuzz(func(t *testing.T, data []byte) {
		steps := len(data)
		checkQueue(t, steps, func(n int) int {
			if len(data) == 0 {
				return 0
			}
			c := int(data[0])
			data = data[1:]
			return c % n
		})
	})
}

func TestNothingIsAllocated(t *testing.T) {
	q := newQueue[int](t, 1000, 1000*queue.BlockSize)
	data, buf := make([]byte, 500), make([]byte, 0, 1000)
	now := time.Duration(0)
	if n := testing.AllocsPerRun(100, func() {
		for i := range 100 {
			q.Push(now+time.Duration(i*7%50), i, data)
		}
		now += 60
		for ok := true; ok; {
			_, _, ok = q.Pop(now, buf)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func Benchmark(b *testing.B) {
	data, buf := make([]byte, 64), make([]byte, 0, 2048)
	for _, waiting := range []int{1, 1000, 100_000} {
		for name, delay := range map[string]func(rng *rand.Rand) time.Duration{
			"constant": func(*rand.Rand) time.Duration { return 20 * time.Millisecond },
			"spread":   func(rng *rand.Rand) time.Duration { return time.Duration(rng.Int64N(int64(40 * time.Millisecond))) },
		} {
			b.Run(fmt.Sprintf("%s/waiting=%d", name, waiting), func(b *testing.B) {
				q := newQueue[[4]uint64](b, waiting+1, (waiting+1)*queue.BlockSize)
				rng := rand.New(rand.NewPCG(1, 2))
				now := time.Duration(0)
				for range waiting {
					q.Push(now+delay(rng), [4]uint64{}, data)
				}
				b.ReportAllocs()
				for b.Loop() { // one in, one out
					q.Push(now+delay(rng), [4]uint64{}, data)
					now, _ = q.Next()
					if _, _, ok := q.Pop(now, buf); !ok {
						b.Fatal("nothing is due")
					}
				}
			})
		}
	}
}
