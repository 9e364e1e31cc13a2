// Command toolbox is one small static program that stands in for a shell's tools in tests and in the documents:
//
//	toolbox sleep [SECONDS]                   wait, without end if no number is given; SIGTERM ends it with 0
//	toolbox wget [-n N] [-interval D] URL     print what the URL answers, N times, each over a new connection
//	toolbox nslookup NAME                     addresses of a name, or SRV records of one that begins with _
//	toolbox exit N                            exit with N
//	toolbox hog MB                            hold that much memory until SIGTERM
//	toolbox env | cat FILE | id               as elsewhere
//
// It exits with 1 if what it was asked to do failed, and with 2 if it was not asked properly.
package main
