package main

// Rows of the report. Those of work have two more below them, of the CPU time that the servers and the client take for each
// piece of it.
const (
	rowFirstStart   = "first start, from nothing, to ready and one write"
	rowSecondStart  = "again, with what is on the disk"
	rowIdleMemory   = "resident memory, idle"
	rowBusyMemory   = "resident memory, pods listed and watched"
	rowListJSON     = "list of all pods, JSON, median"
	rowListProtobuf = "list of all pods, protobuf, median"
	rowCreate       = "creates a second"
	rowUpdate       = "updates a second"
	rowPatch        = "patches a second"
	rowDelete       = "deletes a second"
	rowGet          = "gets a second"
	rowDeliver      = "watch deliveries a second"
	rowDelivery     = "create to delivery, p99"
	rowSync         = "(the disk: a sync before, median)"
	rowLeader       = "leader killed to first write, p99"

	// rowCPU and rowClient are appended to a row's name.
	rowCPU    = ", CPU for each"
	rowClient = ", CPU of the client"
)

// Sections of the report.
const (
	single = "one server; one etcd and one kube-apiserver"
	triple = "three servers; three members of etcd and one kube-apiserver"
)

func sectionOf(servers int) string {
	if servers == 1 {
		return single
	}
	return triple
}

// newReport has the rows in the order in which they are printed. With three servers there is nothing promised but the
// time without a leader.
func newReport() *report {
	r := &report{sizes: map[string][sides]int64{}}
	starts := atMost(1.0 / 8)
	r.expect(single, rowFirstStart, seconds, starts)
	r.expect(single, rowSecondStart, seconds, starts)
	r.expect(single, rowIdleMemory, megabytes, atMost(1.0/6))
	r.expect(single, rowBusyMemory, megabytes, atMost(1.0/6))
	for _, section := range []string{single, triple} {
		promised := func(g goal) goal {
			if section == triple {
				return goal{}
			}
			return g
		}
		work := func(row string, u unit, g goal) {
			r.expect(section, row, u, promised(g))
			r.expect(section, row+rowCPU, microseconds, promised(atMost(1.0/5)))
			r.expect(section, row+rowClient, microseconds, goal{})
		}
		work(rowCreate, count, atLeast(4))
		work(rowUpdate, count, atLeast(4))
		work(rowPatch, count, atLeast(4))
		work(rowDelete, count, atLeast(4))
		work(rowGet, count, atLeast(2.5))
		work(rowListJSON, milliseconds, atMost(1.0/6))
		work(rowListProtobuf, milliseconds, atMost(1.0/6))
		work(rowDeliver, count, atLeast(2))
		r.expect(section, rowDelivery, milliseconds, promised(atMost(1.0/2)))
		r.expect(section, rowSync, milliseconds, goal{})
	}
	r.expect(triple, rowLeader, seconds, under(1)).percentile = 99
	return r
}
