package store

import (
	"bytes"
	"encoding/binary"
	"hash/fnv"
	"io"
	"math/bits"
	"os"
	"slices"
)

// The form of a bbolt file, version 2, as far as a walk over it needs it. bbolt
// has a check of its own, but it runs in a goroutine of its own, where a fault
// over a torn page takes the process down. This one reads the file as bytes and
// believes nothing, so that what passes can be left to bbolt.
//
// Numbers are in the machine's byte order. A page begins with its number, 8
// bytes; flags, 2; count, 2; and how many pages follow that belong to it, 4.
const (
	pageHeader     = 16
	branchElement  = 16 // position 4, key size 4, page 8
	leafElement    = 16 // flags 4, position 4, key size 4, value size 4
	bucketHeader   = 16 // root page 8, sequence 8
	metaLen        = 64
	boltMagic      = 0xED0CDAED
	boltVersion    = 2
	flagBranch     = 0x01
	flagLeaf       = 0x02
	flagFreelist   = 0x10
	flagBucket     = 0x01 // of a leaf element
	manyFree       = 0xFFFF
	maxDepth       = 32
	maxPageSize    = 1 << 16
	noFreelist     = ^uint64(0)
	maxPageRun     = 1 << 16 // pages that belong together, 256 MiB at the usual size
	minMetaPageLen = pageHeader + metaLen
)

// boltMeta is what a meta page says.
type boltMeta struct {
	pageSize, root, freelist, pages, tx uint64
}

// pageWalk goes over every page that a file's newest transaction can reach.
type pageWalk struct {
	file io.ReaderAt
	meta boltMeta
	seen []bool // pages reached, or free
	// buffers hold the page being walked at each depth: a page's keys are the
	// bounds of those below it.
	buffers [maxDepth + 1][]byte
}

// checkPages proves that bbolt can walk the file: every page is within it, is
// what it is taken for, is reached once, and holds its keys in order.
func checkPages(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	meta, err := newestMeta(file)
	if err != nil {
		return err
	}
	if meta.pages > uint64(info.Size())/meta.pageSize || meta.pages < 4 {
		return damaged("it has %d bytes, not %d pages", info.Size(), meta.pages)
	}
	w := &pageWalk{file: file, meta: meta, seen: make([]bool, meta.pages)}
	w.seen[0], w.seen[1] = true, true
	if err := w.tree(meta.root, bounds{}, maxDepth); err != nil {
		return err
	}
	if err := w.freelist(); err != nil {
		return err
	}
	for id, seen := range w.seen {
		if !seen {
			return damaged("page %d is neither in use nor free", id)
		}
	}
	return nil
}

// newestMeta reads both meta pages, of which a crash can have spoilt one. It
// looks for the second where bbolt would.
func newestMeta(file io.ReaderAt) (boltMeta, error) {
	first, found := metaAt(file, 0)
	for size := int64(1024); size <= maxPageSize; size *= 2 {
		if found && uint64(size) != first.pageSize {
			continue
		}
		second, sound := metaAt(file, size)
		if sound && second.pageSize == uint64(size) && (!found || second.tx > first.tx) {
			return second, nil
		}
	}
	if !found {
		return boltMeta{}, damaged("no meta page is sound")
	}
	return first, nil
}

func metaAt(file io.ReaderAt, offset int64) (m boltMeta, sound bool) {
	b := make([]byte, minMetaPageLen)
	if _, err := file.ReadAt(b, offset); err != nil {
		return m, false
	}
	b = b[pageHeader:]
	order := binary.NativeEndian
	sum := fnv.New64a()
	sum.Write(b[:metaLen-8])
	m = boltMeta{
		pageSize: uint64(order.Uint32(b[8:])),
		root:     order.Uint64(b[16:]), // its sequence is between
		freelist: order.Uint64(b[32:]),
		pages:    order.Uint64(b[40:]),
		tx:       order.Uint64(b[48:]),
	}
	sound = order.Uint32(b) == boltMagic && order.Uint32(b[4:]) == boltVersion &&
		order.Uint64(b[metaLen-8:]) == sum.Sum64() &&
		m.pageSize >= 1024 && m.pageSize <= maxPageSize && bits.OnesCount64(m.pageSize) == 1
	return m, sound
}

// page is one page with those that belong to it.
type page struct {
	id    uint64
	flags uint16
	count int
	bytes []byte
}

// read takes a page at a depth, until the next is read there, and marks it and
// those that belong to it as reached.
func (w *pageWalk) read(id uint64, depth int) (page, error) {
	if id >= w.meta.pages {
		return page{}, damaged("page %d of %d", id, w.meta.pages)
	}
	size := w.meta.pageSize
	w.buffers[depth] = slices.Grow(w.buffers[depth][:0], int(size))[:size]
	if err := w.readAt(w.buffers[depth], id); err != nil {
		return page{}, err
	}
	p, run := parsePage(w.buffers[depth])
	if p.id != id || run > maxPageRun || id+run > w.meta.pages {
		return page{}, damaged("page %d calls itself %d and runs over %d", id, p.id, run)
	}
	for n := id; n < id+run; n++ {
		if err := w.reach(n); err != nil {
			return page{}, err
		}
	}
	if run > 1 {
		w.buffers[depth] = slices.Grow(w.buffers[depth], int((run-1)*size))[:run*size]
		if err := w.readAt(w.buffers[depth][size:], id+1); err != nil {
			return page{}, err
		}
	}
	p.bytes = w.buffers[depth]
	return p, nil
}

func (w *pageWalk) readAt(b []byte, id uint64) error {
	if _, err := w.file.ReadAt(b, int64(id*w.meta.pageSize)); err != nil {
		return damaged("page %d: %v", id, err)
	}
	return nil
}

func (w *pageWalk) reach(id uint64) error {
	if id >= w.meta.pages {
		return damaged("page %d of %d", id, w.meta.pages)
	}
	if w.seen[id] {
		return damaged("page %d is used twice", id)
	}
	w.seen[id] = true
	return nil
}

// parsePage reads a page's header.
func parsePage(b []byte) (p page, run uint64) {
	order := binary.NativeEndian
	p = page{id: order.Uint64(b), flags: order.Uint16(b[8:]), count: int(order.Uint16(b[10:])), bytes: b}
	return p, uint64(order.Uint32(b[12:])) + 1
}

// bounds are what keys must not be below, and must be below; nil for no bound.
type bounds struct{ from, to []byte }

// take reports whether a page's i-th key may come after the one before it, which
// for the first is the lower bound itself and may be equal.
func (b bounds) take(key, before []byte, i int) bool {
	order := bytes.Compare(key, before)
	return len(key) > 0 && (order > 0 || order == 0 && i == 0) && (b.to == nil || bytes.Compare(key, b.to) < 0)
}

func (w *pageWalk) tree(id uint64, within bounds, depth int) error {
	if depth <= 0 {
		return damaged("page %d lies too deep", id)
	}
	p, err := w.read(id, depth)
	if err != nil {
		return err
	}
	switch {
	case p.flags == flagLeaf:
		return w.leaf(p, within, depth)
	case p.flags == flagBranch && p.count > 0:
		return w.branch(p, within, depth)
	default:
		return damaged("page %d is of kind %#x", id, p.flags)
	}
}

func (w *pageWalk) branch(p page, within bounds, depth int) error {
	order := binary.NativeEndian
	below, child := bounds{from: within.from}, uint64(0)
	for i := range p.count {
		element, at := p.element(i, branchElement)
		if element == nil {
			return damaged("page %d is cut off", p.id)
		}
		key := p.slice(uint64(at)+uint64(order.Uint32(element)), order.Uint32(element[4:]))
		if !within.take(key, below.from, i) {
			return damaged("page %d: key %d is out of order", p.id, i)
		}
		if below.to = key; i > 0 {
			if err := w.tree(child, below, depth-1); err != nil {
				return err
			}
		}
		below.from, child = key, order.Uint64(element[8:])
	}
	below.to = within.to
	return w.tree(child, below, depth-1)
}

func (w *pageWalk) leaf(p page, within bounds, depth int) error {
	order := binary.NativeEndian
	before := within.from
	for i := range p.count {
		element, at := p.element(i, leafElement)
		if element == nil {
			return damaged("page %d is cut off", p.id)
		}
		from, size := uint64(at)+uint64(order.Uint32(element[4:])), order.Uint32(element[8:])
		key := p.slice(from, size)
		value := p.slice(from+uint64(size), order.Uint32(element[12:]))
		if value == nil || !within.take(key, before, i) {
			return damaged("page %d: key %d is out of order or lies outside", p.id, i)
		}
		before = key
		if order.Uint32(element)&flagBucket != 0 {
			if err := w.bucket(p.id, value, depth-1); err != nil {
				return err
			}
		}
	}
	return nil
}

// bucket walks a bucket, whose pages may lie inside its own value.
func (w *pageWalk) bucket(in uint64, value []byte, depth int) error {
	if len(value) < bucketHeader || depth <= 0 {
		return damaged("page %d holds a bucket of %d bytes", in, len(value))
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		return w.tree(root, bounds{}, depth)
	}
	if value = value[bucketHeader:]; len(value) < pageHeader {
		return damaged("page %d holds a bucket of %d bytes", in, len(value))
	}
	p, _ := parsePage(value)
	if p.flags != flagLeaf {
		return damaged("page %d holds a bucket of kind %#x", in, p.flags)
	}
	p.id = in
	return w.leaf(p, bounds{}, depth)
}

// element returns the i-th fixed part and where it begins; nil if the page ends
// before it does.
func (p page) element(i, size int) (element []byte, at int) {
	at = pageHeader + i*size
	if at+size > len(p.bytes) {
		return nil, 0
	}
	return p.bytes[at : at+size], at
}

// slice returns size bytes from a place on; nil if they are not all in the page.
func (p page) slice(from uint64, size uint32) []byte {
	if from+uint64(size) > uint64(len(p.bytes)) {
		return nil
	}
	return p.bytes[from : from+uint64(size)]
}

// freelist proves that what is free is free once and not in use.
func (w *pageWalk) freelist() error {
	if w.meta.freelist == noFreelist {
		return damaged("its list of free pages is missing")
	}
	p, err := w.read(w.meta.freelist, 0)
	if err != nil {
		return err
	}
	order := binary.NativeEndian
	list, count := p.bytes[pageHeader:], uint64(p.count)
	if p.count == manyFree {
		count, list = order.Uint64(list), list[8:]
	}
	if p.flags != flagFreelist || count > uint64(len(list))/8 {
		return damaged("page %d is no list of %d free pages", p.id, count)
	}
	for i := range count {
		if err := w.reach(order.Uint64(list[8*i:])); err != nil {
			return err
		}
	}
	return nil
}
