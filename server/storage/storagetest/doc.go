// Package storagetest holds a store to the contract of package storage, whatever it is made of: memory, one server, the
// leader or a follower of several.
//
// Run is the whole suite. Each test has a namespace of its own and tells time by revisions alone, so all of them share
// one store; they run one after the other, because some use up the history.
package storagetest
