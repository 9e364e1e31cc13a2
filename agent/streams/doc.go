// Package streams is the agent's HTTPS handler: what the servers fetch from a node for their clients.
//
//	GET /logs/{namespace}/{pod}/{container}?follow=&tailLines=&sinceSeconds=&sinceTime=&timestamps=&previous=&limitBytes=
//	GET /healthz
//
// Invariants:
//   - Everything but /healthz is for those whom Config.Allow lets in, whatever the path or method.
//   - A log is opened below Config.LogDir without following any link, and must be a regular file: what a container
//     does to its folder leads nowhere else.
//   - A reader holds a bounded buffer, however long the lines and the log are.
//   - A followed log ends when its container has ended and the log is read to its end, or when the client goes.
//   - Errors are Kubernetes' Status objects.
//
// A handler serves any number of requests at the same time; each ends its own goroutines.
package streams
