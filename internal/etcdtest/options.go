package etcdtest

// An Option changes how a cluster is started.
type Option func(*Cluster)

// Flags gives every member more flags of etcd, such as --quota-backend-bytes=16777216 or
// --snapshot-count=10. They take precedence over the package's own.
func Flags(flags ...string) Option {
	return func(c *Cluster) { c.flags = append(c.flags, flags...) }
}

// TLS makes members accept only clients that use TLS and have a certificate of
// Cluster.CA.
func TLS() Option {
	return func(c *Cluster) { c.secure = true }
}

// User is one who may read and write all keys that begin with Prefix, and no others.
type User struct{ Name, Password, Prefix string }

// Root may do everything in a cluster started with Users.
var Root = User{Name: "root", Password: "root's password"}

// Users makes members accept only these users, and Root.
func Users(users ...User) Option {
	return func(c *Cluster) { c.users = append([]User{Root}, users...) }
}
