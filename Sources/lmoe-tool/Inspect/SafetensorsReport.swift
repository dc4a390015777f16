import LMoECore
import LMoEFormat

/// `inspect` of a safetensors file.
struct SafetensorsReport: InspectReport {
  let file: SafetensorsFile
  let withTensors: Bool

  init(_ file: SafetensorsFile, withTensors: Bool) {
    self.file = file
    self.withTensors = withTensors
  }

  private var tensors: [TensorLine] { file.tensors.map { TensorLine($0, bank: "–") } }

  var json: JSON {
    var object: [(String, JSON)] = [
      ("schema", 1), ("format", "safetensors"), ("path", .string(file.path)),
      ("tensor_count", .integer(file.tensors.count)),
      ("parameters", .integer(file.tensors.reduce(0) { $0 + $1.type.elementCount })),
      ("metadata", .object(file.header.metadata.map { ($0.key, .string($0.value)) })),
    ]
    if withTensors { object.append(("tensors", .array(tensors.map(\.json)))) }
    return .object(object)
  }

  var lines: [String] {
    let parameters = file.tensors.reduce(0) { $0 + $1.type.elementCount }
    var lines = [
      "\(Terminal.bold(file.path.printable))  safetensors, \(file.tensors.count) tensors, \(formatted(count: parameters)) parameters"
    ]
    for (key, value) in file.header.metadata { lines.append("  \(key.printable): \(value.printable)") }
    return withTensors ? lines + TensorLine.table(tensors).lines : lines
  }
}
