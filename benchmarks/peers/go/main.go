// Go's own HTTP server. With STORE it writes each nonce to Valkey before it answers (go-redis), else nothing is
// recorded. No caller is known.
package main

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	"gopkg.in/redis.v5"
)

type credential struct {
	Token     string `json:"token"`
	Expire    int64  `json:"expire"`
	Signature string `json:"signature"`
	PublicKey string `json:"publicKey"`
}

func main() {
	privateKey, publicKey := []byte(os.Getenv("PRIVATE_KEY")), os.Getenv("PUBLIC_KEY")
	var store *redis.Client
	if path := os.Getenv("STORE"); path != "" {
		store = redis.NewClient(&redis.Options{Network: "unix", Addr: path})
	}
	http.HandleFunc("/auth", func(response http.ResponseWriter, _ *http.Request) {
		made := credential{Token: token(), Expire: time.Now().Unix() + 1800, PublicKey: publicKey}
		mac := hmac.New(sha1.New, privateKey)
		mac.Write([]byte(made.Token + strconv.FormatInt(made.Expire, 10)))
		made.Signature = hex.EncodeToString(mac.Sum(nil))
		if store != nil {
			fresh, err := store.SetNX("peer:"+made.Token, "I", 120*time.Second).Result()
			if err != nil || !fresh {
				http.Error(response, "not recorded", http.StatusServiceUnavailable)
				return
			}
		}
		response.Header().Set("Content-Type", "application/json")
		json.NewEncoder(response).Encode(made)
	})
	panic(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}

func token() string {
	var made [16]byte
	rand.Read(made[:])
	made[6], made[8] = made[6]&0x0f|0x40, made[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", made[:4], made[4:6], made[6:8], made[8:10], made[10:])
}
