// Stands in for the Prometheus operator's config reloader, whose module cannot be had whole:
// the same three flags, the same health check, a POST to Prometheus when its configuration changes.
package main

import (
	"flag"
	"io/fs"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

func main() {
	watched := flag.String("watched-dir", "", "the folder of Prometheus' configuration")
	reload := flag.String("reload-url", "", "where Prometheus takes a POST to read it again")
	listen := flag.String("listen-address", ":8080", "where /healthz answers")
	flag.Parse()
	go watch(*watched, *reload)
	http.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
	log.Fatal(http.ListenAndServe(*listen, nil))
}

func watch(folder, url string) {
	loaded := newest(folder)
	for range time.Tick(5 * time.Second) {
		if seen := newest(folder); seen.After(loaded) && posted(url) {
			loaded = seen
		}
	}
}

// newest is the latest modification below the folder; a mounted ConfigMap's files are links, followed here.
func newest(folder string) (latest time.Time) {
	_ = filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if info, statErr := os.Stat(path); err == nil && statErr == nil && info.ModTime().After(latest) {
			latest = info.ModTime()
		}
		return nil
	})
	return latest
}

func posted(url string) bool {
	answer, err := http.Post(url, "", nil)
	if err != nil {
		log.Print(err)
		return false
	}
	defer answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}
