package mux

// table holds what is registered, indexed by descriptor.
type table struct {
	entries []entry
	gen     uint64 // of the latest change, which is to say how many there were
}

// entry is one registration.
type entry struct {
	token      uint64
	gen        uint64 // differs for every Add and Modify
	slot       int32  // poll: its place in the array
	want       Interest
	registered bool
	armed      bool   // to be reported: neither silent nor a spent Oneshot
	known      bool   // it is in the backend's set, if perhaps inactive there
	always     bool   // epoll: the kernel refuses it, so it is always ready
	reports    uint16 // epoll: count of events, see probeFirst
}

// at returns the entry of a registered descriptor, else nil.
func (t *table) at(fd int) *entry {
	if uint(fd) >= uint(len(t.entries)) || !t.entries[fd].registered {
		return nil
	}
	return &t.entries[fd]
}

// put stores the entry of fd, which is an open descriptor and so bounded by
// RLIMIT_NOFILE.
func (t *table) put(fd int, e entry) {
	if fd >= len(t.entries) {
		t.entries = append(t.entries, make([]entry, fd+1-len(t.entries))...)
	}
	t.entries[fd] = e
}

// nextGen returns a generation that no registration has had.
func (t *table) nextGen() uint64 {
	t.gen++
	return t.gen
}
