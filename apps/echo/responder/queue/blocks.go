package queue

// BlockSize is the unit of memory for data, in bytes. The usual echo request fits one.
const BlockSize = 128

// blocks hold data of any length in pieces of one size, so that no room is lost
// between long and short ones.
type blocks struct {
	memory []byte
	next   []int32 // of each block, the next one of the same data, or the next free one
	free   int32   // the first that is free of those that were used
	used   int     // how many were ever used
	taken  int
}

func newBlocks(n int) blocks {
	return blocks{memory: make([]byte, n*BlockSize), next: make([]int32, n), free: nothing}
}

// blocksOf returns how many blocks so many bytes need.
func blocksOf(bytes int) int { return (bytes + BlockSize - 1) / BlockSize }

// fit tells whether there is room for so many bytes.
func (b *blocks) fit(bytes int) bool { return blocksOf(bytes) <= len(b.next)-b.taken }

// put copies data, for which there is room, and returns its first block.
func (b *blocks) put(data []byte) int32 {
	first := int32(nothing)
	last := &first
	for len(data) > 0 {
		i := b.free
		if i == nothing {
			i = int32(b.used)
			b.used++
		} else {
			b.free = b.next[i]
		}
		b.taken++
		n := copy(b.block(i), data)
		data = data[n:]
		*last = i
		last = &b.next[i]
	}
	*last = nothing
	return first
}

// take appends data of a size to dst and frees its blocks.
func (b *blocks) take(first int32, size int, dst []byte) []byte {
	for i := first; i != nothing; {
		n := min(size, BlockSize)
		dst = append(dst, b.block(i)[:n]...)
		size -= n
		next := b.next[i]
		b.next[i], b.free = b.free, i
		b.taken--
		i = next
	}
	return dst
}

func (b *blocks) block(i int32) []byte {
	return b.memory[int(i)*BlockSize:][:BlockSize]
}
