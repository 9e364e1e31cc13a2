// Package bugs has mistakes that can be made on purpose, to show that the tests of the replicated state would find
// them: a test that has never failed proves nothing.
//
// Invariants:
//
//   - Without the build tag seededbugs, On is the constant false, and the compiler leaves the mistake out: a release
//     has neither the code nor the switch.
//   - With the tag, at most one bug is on, chosen by Enable before anything else runs.
//
// Each site asks On for one value of All, and does in one or two lines what somebody could have written by mistake.
// server/consensus/simulate must find every one of them.
package bugs
