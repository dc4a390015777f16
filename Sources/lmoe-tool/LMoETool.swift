@main struct LMoETool { static func main() {} }
