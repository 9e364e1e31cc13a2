// Package crilog copies a container's output to its log file in the CRI format:
//
//	<RFC3339Nano> stdout|stderr F|P <text>
//
// Invariants:
//   - A line is written whole, with one write, so a reader that follows the file
//     never sees two streams mixed in one line.
//   - A line longer than MaxLine is cut into parts tagged P, the last one F; so
//     no container can make the shim hold more than that.
//   - The file is opened below a descriptor of its folder, without following
//     links, and must be a regular file with one name: a container that can
//     write into the folder cannot make root write elsewhere.
//   - A failing write (a full disk) loses text, never stops the container: the
//     stream is read to its end all the same, and Close tells what went wrong.
//
// A Log is used by any number of Copy calls at the same time. Close it after
// they have returned.
package crilog
