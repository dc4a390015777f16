import Foundation
import LMoECore
import LMoEFormat
import Testing

/// How commands fail: the status, and one sentence on stderr.
@Suite(.timeLimit(.minutes(2))) final class ExitStatusTests {
  private let tool: Tool

  init() throws {
    tool = try Tool()
    try tool.makeBundle("a.lmoe", experts: ["math"])
    try FileManager.default.createDirectory(atPath: tool.path("d"), withIntermediateDirectories: false)
    #expect(mkfifo(tool.path("fifo"), 0o600) == 0)
    try Data("x".utf8).write(to: URL(filePath: tool.path("short")))
    try Data(count: 70_000).write(to: URL(filePath: tool.path("zeros")))
    try Data(try tool.contents("a.lmoe").dropLast(5000)).write(to: URL(filePath: tool.path("cut")))
  }

  /// Arguments (`@/` stands for the fixtures), status, sentence without "Error: ".
  static let failures: [(arguments: String, status: Int32, sentence: String)] = [
    ("inspect missing", 74, "cannot open missing: no such file or directory"),
    ("verify missing", 74, "cannot open missing: no such file or directory"),
    ("history missing", 74, "cannot open missing: no such file or directory"),
    ("diff a.lmoe missing", 74, "cannot open missing: no such file or directory"),
    ("compact missing", 74, "cannot open missing: no such file or directory"),
    ("remove missing math", 74, "cannot open missing: no such file or directory"),
    ("add missing x=@/adapters/math", 74, "cannot open missing: no such file or directory"),
    ("add a.lmoe x=missing", 74, "cannot open missing: no such file or directory"),
    ("verify d", 74, "cannot open d: Is a directory"),
    ("remove d math", 74, "cannot open d: Is a directory"),
    ("verify fifo", 74, "cannot open fifo: Invalid argument"),
    ("inspect short", 3, "short is not an .lmoe bundle"),
    ("verify zeros", 3, "zeros is not an .lmoe bundle"),
    ("add zeros x=@/adapters/math", 3, "zeros is not an .lmoe bundle"),
    ("inspect d", 3, "d has no config.json; point at the directory that save_pretrained wrote"),
    (
      "inspect @/adapters/vera", 3,
      "@/adapters/vera/adapter_config.json: \"peft_type\" is \"VERA\", which this tool cannot represent; only LORA adapters can be imported"
    ),
    (
      "inspect @/safetensors/attacks/hole_between.safetensors", 3,
      "@/safetensors/attacks/hole_between.safetensors: \"b\", offset 118: not a valid safetensors file (a hole before it); export it again"
    ),
    (
      "add a.lmoe math=@/adapters/math", 3,
      "a.lmoe already has a bank \"expert/math\"; remove it first or choose another name"
    ),
    (
      "add a.lmoe a,b=@/adapters/math", 3,
      "\"a,b\" cannot be the name of an expert: use 1 to 255 bytes without \"/\", \"=\", \",\", \"#\", control characters and leading \"-\""
    ),
    (
      "add a.lmoe x=@/tiny-llama", 3,
      "@/tiny-llama has no adapter_config.json; point at the directory that save_pretrained wrote"
    ),
    ("remove a.lmoe nobody", 3, "a.lmoe has no bank \"expert/nobody\""),
    ("remove a.lmoe math math", 3, "a.lmoe has no bank \"expert/math\""),
    ("rename a.lmoe nobody x", 3, "a.lmoe has no bank \"expert/nobody\""),
    (
      "rename a.lmoe math math", 3,
      "a.lmoe already has a bank \"expert/math\"; remove it first or choose another name"
    ),
    ("restore a.lmoe --generation 7", 3, "a.lmoe has no generation 7; it has 1"),
    ("export a.lmoe --to hf -o d", 3, "d already exists; choose another path or remove it"),
    ("export a.lmoe --to peft --expert nobody -o e", 3, "a.lmoe has no bank \"expert/nobody\""),
    ("import --base @/tiny-llama -o a.lmoe", 3, "a.lmoe already exists; choose another name or remove it"),
    (
      "import --base @/adapters/math -o n.lmoe", 3,
      "@/adapters/math has no config.json; point at the directory that save_pretrained wrote"
    ),
    ("import --base missing -o n.lmoe", 74, "cannot open missing: no such file or directory"),
    (
      "import --base @/tiny-llama --expert x=@/adapters/allbias-tensors -o n.lmoe", 3,
      "@/adapters/allbias-tensors/adapter_model.safetensors: the adapter brings the tensor \"base_model.model.model.layers.0.self_attn.k_proj.bias\", and the base has no model.layers.0.self_attn.k_proj.bias (the base's layers have no bias); it was trained on another base"
    ),
    ("compact a.lmoe -o d", 3, "d already exists; choose another name or remove it"),
  ]

  @Test(arguments: failures.indices) func `failures`(index: Int) throws {
    let (arguments, status, sentence) = Self.failures[index]
    func expanded(_ text: String) -> String { text.replacingOccurrences(of: "@/", with: Tool.fixtures + "/") }
    let (names, bytes) = (try tool.names(), try tool.contents("a.lmoe"))
    let output = try tool.run(arguments.split(separator: " ").map { expanded(String($0)) })
    #expect(output.status == status && !output.wasKilled)
    #expect(output.err == "Error: \(expanded(sentence))\n")
    #expect(output.out == "")
    #expect(try tool.names() == names && tool.contents("a.lmoe") == bytes, "something was changed or left")
  }

  @Test(arguments: [
    "import", "import --base x", "add a.lmoe", "add a.lmoe foo", "add a.lmoe =x", "add a.lmoe x=",
    "remove a.lmoe",
    "restore a.lmoe", "restore a.lmoe --generation x", "export a.lmoe --to peft -o e",
    "export a.lmoe --to hf --expert math -o e",
    "export a.lmoe --to onnx -o e", "compact a.lmoe --recover", "compact a.lmoe --keep-history --codec raw",
    "import --base x -o y --codec zip", "inspect a.lmoe --nope", "diff a.lmoe", "rename a.lmoe math",
  ])
  func `usage`(arguments: String) throws {
    let output = try tool.run(arguments.split(separator: " ").map(String.init))
    #expect(output.status == 64)
    #expect(output.err.hasPrefix("Error: ") && output.err.contains("Usage: lmoe-tool") && output.out == "")
  }

  @Test func `a command that does not exist`() throws {
    let output = try tool.run("bogus")
    #expect(output.status == 64 && output.out == "")
    #expect(output.err.hasPrefix("Error: there is no command \"bogus\"") && output.err.contains("--help"))
  }

  @Test func `a truncated file and the way out`() throws {
    let size = try tool.contents("a.lmoe").count
    let sentence =
      "cut is truncated: it should have \(size) bytes and has \(size - 5000); get the file again, or salvage "
      + "an older generation with \"lmoe-tool compact --recover -o NEW\"\n"
    let output = try tool.run("inspect", "cut")
    #expect(output.status == 3)
    #expect(output.err == "Error: " + sentence)
    // To verify, damage is not an error but the answer.
    let verdict = try tool.run("verify", "cut")
    #expect(verdict.status == 1)
    #expect(verdict.out == sentence && verdict.err.isEmpty)
  }

  @Test func `what could be written is not, for a name that moves the cursor`() throws {
    let name = "a\u{1B}[31mb"
    for arguments in [["inspect", name], ["remove", "a.lmoe", name], ["add", "a.lmoe", "x=\(name)"]] {
      let output = try tool.run(arguments)
      #expect(output.status != 0)
      #expect(output.err.contains("a␛[31mb") && !output.err.contains("\u{1B}"))
    }
  }

  @Test func `a read-only file can be read`() throws {
    #expect(chmod(tool.path("a.lmoe"), 0o444) == 0)
    for command in ["inspect", "verify", "history"] { try tool.succeed(command, "a.lmoe") }
    try tool.succeed("export", "a.lmoe", "--to", "hf", "-o", "e")
  }

  @Test(
    .enabled(if: geteuid() != 0, "root may write anything"),
    arguments: ["remove a.lmoe math", "compact a.lmoe", "rename a.lmoe math x"])
  func `a read-only file cannot be changed`(arguments: String) throws {
    #expect(chmod(tool.path("a.lmoe"), 0o444) == 0)
    let bytes = try tool.contents("a.lmoe")
    let output = try tool.run(arguments.split(separator: " ").map(String.init))
    #expect(output.status == 74)
    #expect(output.err == "Error: cannot open a.lmoe: permission denied or read-only file system\n")
    #expect(try tool.contents("a.lmoe") == bytes)
  }

  @Test func `a locked file`() throws {
    let file = try PosixFileSystem().open(tool.path("a.lmoe"), .update)
    #expect(try file.lockForWriting() == .taken)
    let output = try tool.run("remove", "a.lmoe", "math")
    #expect(output.status == 3)
    #expect(
      output.err
        == "Error: a.lmoe is being changed by another process; wait for it and run the command again\n")
    try tool.succeed("verify", "a.lmoe")
    file.unlock()
    try tool.succeed("remove", "a.lmoe", "math")
  }
}
