import LMoECore
import Testing

/// Values: access, equality, writing.
@Suite struct JSONObjectTests {
  private static func object(_ count: Int, _ key: (Int) -> String = { "key \($0)" }) -> String {
    "{" + (0..<count).map { "\"\(key($0))\": \($0)" }.joined(separator: ", ") + "}"
  }

  /// Small objects are searched, large ones indexed: both sides of the change behave alike.
  @Test(arguments: [1, 2, 11, 12, 13, 14, 15, 40])
  func `objects of every size`(count: Int) throws {
    let json = try JSON(parsing: Array(Self.object(count).utf8))
    #expect(json.object?.members.map(\.key) == (0..<count).map { "key \($0)" })
    for place in 0..<count {
      #expect(json["key \(place)"]?.int == place)
      var fewer = try #require(json.object)
      fewer["key \(place)"] = nil
      #expect(fewer["key \(place)"] == nil && fewer.members.count == count - 1)
      #expect(JSON.object(fewer) != json)
      fewer["key \(place)"] = .integer(place)
      fewer["one more"] = true
      fewer["one more"] = nil
      #expect(fewer.members.last?.key == "key \(place)")
      // The order of members does not count.
      #expect(JSON.object(fewer) == json)
      #expect((0..<count).allSatisfy { fewer["key \($0)"]?.int == $0 })
    }
    #expect(json["key \(count)"] == nil)
    #expect(json["ke\u{301}y 0"] == nil)
  }

  @Test func `a duplicate is found at every place of every size`() {
    for count in [2, 11, 12, 13, 14, 15, 40] {
      for (first, second) in [(0, count - 1), (count / 2 - 1, count - 1), (count - 2, count - 1), (0, 1)] {
        let text = Self.object(count) { $0 == second ? "key \(first)" : "key \($0)" }
        let error = #expect(throws: JSONError.self) { try JSON(parsing: Array(text.utf8)) }
        #expect(error?.reason == .duplicateKey("key \(first)"), "\(count) \(first) \(second)")
      }
      let equivalent = Self.object(count) { $0 == count - 1 ? "e\u{301}" : $0 == 0 ? "é" : "\($0)" }
      #expect(throws: Never.self) { try JSON(parsing: Array(equivalent.utf8)) }
    }
  }

  @Test func `numbers as types`() throws {
    func number(_ text: String) throws -> JSON { try JSON(parsing: Array(text.utf8)) }
    #expect(try number("9223372036854775807").int == .max)
    #expect(try number("9223372036854775808").int == nil)
    #expect(try number("18446744073709551615").number?.integer(UInt64.self) == .max)
    #expect(try number("-1").number?.integer(UInt8.self) == nil)
    #expect(try number("1.0").int == nil && number("1e2").int == nil)
    #expect(try number("1e2").double == 100)
    #expect(try number("1e400").double == nil && number("-1e400").double == nil)
    #expect(try number("0.1").double == 0.1)
    #expect(try number("5e-324").double == .leastNonzeroMagnitude)
    #expect(JSON.double(16).serialized() == "16" && JSON.double(0.1).serialized() == "0.1")
    #expect(JSON.double(.nan) == .null && JSON.double(.infinity) == .null)
    for value in [1e15, 1e300, .leastNonzeroMagnitude, -2.5, 1e-7, 123456789.125] {
      #expect(try number(JSON.double(value).serialized()).double == value)
    }
  }

  @Test func `equality is by bytes`() {
    #expect(JSON.string("é") != JSON.string("e\u{301}"))
    #expect(JSON.number(JSONNumber(text: "1")) != JSON.number(JSONNumber(text: "1.0")))
    #expect(["a": 1, "b": [nil]] as JSON == ["b": [nil], "a": 1])
    #expect(["é": 1] as JSON != ["e\u{301}": 1])
    #expect([1, 2] as JSON != [2, 1])
    #expect(["a": 1] as JSON != ["a": 1, "b": 1])
  }

  @Test func `access by the wrong type`() {
    let json: JSON = ["text": "1", "flag": true, "list": [1], "none": nil]
    #expect(json["text"]?.int == nil && json["text"]?.bool == nil && json["text"]?.double == nil)
    #expect(json["flag"]?.string == nil && json["flag"]?.bool == true)
    #expect(json["list"]?.array == [1] && json["list"]?.object == nil && json["list"]?["text"] == nil)
    #expect(json["none"]?.isNull == true && json["no"] == nil)
  }

  @Test func `every character survives writing`() throws {
    var text = ""
    for value in 0...0x10FFFF as ClosedRange<UInt32> where value < 0x3000 || value % 97 == 0 {
      if let scalar = Unicode.Scalar(value) { text.unicodeScalars.append(scalar) }
    }
    let json: JSON = .object([(text, .array([.string(text), .object([("\r\n", "\u{1B}[31m")])]))])
    for pretty in [false, true] {
      let written = json.serialized(pretty: pretty)
      #expect(try JSON(parsing: Array(written.utf8)) == json)
      // No control character reaches a terminal, line ends of the layout apart.
      #expect(written.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control || $0 == "\n" })
    }
    let awkward = "\u{1B}\u{8}\"\\/\r\n\u{7F}\u{9F}é"
    #expect(JSON.string(awkward).serialized() == #""\u001b\u0008\"\\/\r\n\u007f\u009fé""#)
  }

  @Test func `layout`() {
    let json: JSON = ["a": [], "b": [1, ["c": nil]], "d": [:]]
    #expect(json.serialized() == #"{"a":[],"b":[1,{"c":null}],"d":{}}"#)
    #expect(
      json.serialized(pretty: true) == """
        {
          "a": [],
          "b": [
            1,
            {
              "c": null
            }
          ],
          "d": {}
        }

        """)
  }
}
