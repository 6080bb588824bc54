// SPDX-License-Identifier: BSD-2-Clause

// rs_cors SOCKET ORIGINS -- a tiny page behind rs/cors, which knows the origins of a file; "none": without it.
package main

import (
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"

	"github.com/rs/cors"
)

func main() {
	var page http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, "tiny\n")
	})
	if os.Args[2] != "none" {
		text, err := os.ReadFile(os.Args[2])
		if err != nil {
			log.Fatal(err)
		}
		page = cors.New(cors.Options{AllowedOrigins: strings.Fields(string(text)), MaxAge: 600,
			AllowedMethods: []string{"GET", "PUT", "DELETE"},
			AllowedHeaders: []string{"content-type", "x-token"}}).Handler(page)
	}
	syscall.Umask(0) // nginx's worker is somebody else
	at, err := net.Listen("unix", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.Serve(at, page))
}
